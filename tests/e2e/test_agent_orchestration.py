"""Deployment: an agent that has others work, each in a run of its own."""

from __future__ import annotations

from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]


def child(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"child": "scripted", "message": "Go.", "params": {"script": list(steps)}}


def children_of(chat: Chat, run_id: str) -> list[str]:
    """The runs that this one started, as far as the socket has heard of them."""
    return list(dict.fromkeys(frame["run_id"] for frame in chat.frames if frame.get("parent_run_id") == run_id))


def test_a_child_is_a_run_of_its_own_that_names_its_parent(user_chat: Chat) -> None:
    accepted = user_chat.start_run(child({"tool": "echo"}, {"return": "part"}), {"return": "whole"})
    parent = user_chat.finish(accepted["run_id"])
    (run_id,) = children_of(user_chat, accepted["run_id"])
    events = user_chat.finish(run_id)

    require_lawful(parent)
    require_lawful(events)
    assert events[0]["thread_id"] == accepted["thread_id"]
    assert events[-1]["data"]["result"]["output"] == "part"
    assert parent[-1]["data"]["result"]["output"] == "whole"
    assert user_chat.frames.index(events[-1]) < user_chat.frames.index(parent[-1])


def test_children_work_side_by_side_and_keep_to_themselves(user_chat: Chat) -> None:
    parts = [child({"emit": 5, "rate": 50}, {"return": number}) for number in range(3)]
    run_id = user_chat.start_run({"children": parts}, {"return": "all"})["run_id"]
    require_lawful(user_chat.finish(run_id))

    runs = children_of(user_chat, run_id)
    for run in runs:
        require_lawful(user_chat.finish(run))
    outputs = [user_chat.events(run)[-1]["data"]["result"]["output"] for run in runs]
    assert sorted(outputs) == [0, 1, 2]


def test_a_childs_failure_is_its_parents_to_handle(user_chat: Chat) -> None:
    failing = child({"raise": "boom"})
    run_id = user_chat.start_run(failing | {"catch": True}, {"return": "all the same"})["run_id"]
    end = user_chat.finish(run_id)[-1]["data"]
    other = user_chat.start_run(failing)["run_id"]

    assert (end["status"], end["result"]["output"]) == ("completed", "all the same")
    assert user_chat.finish(other)[-1]["data"]["status"] == "failed"


def test_who_cancels_a_parent_cancels_its_children(user_chat: Chat) -> None:
    run_id = user_chat.start_run(child({"think": "Hm."}, {"sleep": 600}))["run_id"]
    while not children_of(user_chat, run_id):
        user_chat.receive()
    (kid,) = children_of(user_chat, run_id)
    user_chat.ask(type="cancel_run", run_id=run_id)

    for run in (kid, run_id):
        events = user_chat.finish(run)
        require_lawful(events)
        assert events[-1]["data"]["status"] == "cancelled"
