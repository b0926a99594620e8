"""Deployment: what fails ends, says why, and takes nothing else with it."""

from __future__ import annotations

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, require_view_is_log
from tests.e2e.deployment import Deployment

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]


def test_a_bug_of_an_agent_ends_its_run_with_words_for_a_user(user_chat: Chat) -> None:
    events = user_chat.run({"raise": "KeyError in line 7 of secret.py"})

    require_lawful(events)
    assert events[-1]["data"]["status"] == "failed"
    assert events[-1]["data"]["error"]["code"] == "internal"
    assert "secret.py" not in str(events)


def test_a_tool_that_fails_is_told_and_an_agent_can_go_on(user_chat: Chat) -> None:
    events = user_chat.run({"tool": "fail", "catch": True}, {"return": "done all the same"})

    require_lawful(events)
    assert next(event["data"]["status"] for event in events if event["type"] == "tool_completed") == "error"
    assert events[-1]["data"]["status"] == "completed"


def test_a_run_beyond_its_time_is_ended(user_chat: Chat) -> None:
    events = user_chat.run({"tool": "sleep", "arguments": {"seconds": 60}}, timeout=3)

    require_lawful(events)
    assert events[-1]["data"]["status"] == "timed_out"
    assert next(e["data"]["status"] for e in events if e["type"] == "tool_completed") in {"timed_out", "cancelled"}


def test_a_cancel_from_another_tab_ends_a_run_in_the_middle_of_a_tool(deployment: Deployment, user_chat: Chat) -> None:
    run_id = user_chat.start_run({"tool": "sleep", "arguments": {"seconds": 600}})["run_id"]
    user_chat.wait_for(run_id, "tool_executing")
    with deployment.connect() as other:
        other.ask(type="cancel_run", run_id=run_id)

    events = user_chat.finish(run_id)
    require_lawful(events)
    assert events[-1]["data"]["status"] == "cancelled"


def test_a_socket_that_breaks_in_mid_run_misses_nothing_after_it_resumes(deployment: Deployment) -> None:
    with deployment.connect() as chat:
        run_id = chat.start_run({"emit": 60, "rate": 60}, {"return": "done"})["run_id"]
        chat.wait_for(run_id, "agent_thinking")
        before = chat.view(run_id)

    with deployment.connect() as back:
        back.resume(**{run_id: len(before)})
        back.finish(run_id)
        after = back.view(run_id, cursor=len(before))
        back.resume(**{run_id: 0})
        log = back.events(run_id)[-len(before + after) :]

    require_lawful(before + after)
    require_view_is_log(before + after, log)
