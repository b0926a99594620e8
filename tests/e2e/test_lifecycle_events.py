"""Deployment: each run begins once and ends once, whatever its end is, and its end says all that one has to know."""

from __future__ import annotations

from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]

ENDS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "completed": ([{"return": None}], {}),
    "failed": ([{"raise": "boom"}], {}),
    "timed_out": ([{"sleep": 60}], {"timeout": 0.3}),
}


@pytest.mark.parametrize("status", ENDS)
def test_a_run_begins_once_and_ends_once(user_chat: Chat, status: str) -> None:
    steps, fields = ENDS[status]
    events = user_chat.run({"think": "Hm."}, *steps, **fields)

    require_lawful(events)
    assert events[-1]["data"]["status"] == status


def test_a_run_that_is_cancelled_while_it_waits_ends_once_too(user_chat: Chat) -> None:
    first = user_chat.start_run({"sleep": 600})
    second = user_chat.start_run({"return": 2}, thread_id=first["thread_id"])
    for run in (second, first):
        user_chat.send(type="cancel_run", run_id=run["run_id"])

    for run in (first, second):
        require_lawful(user_chat.finish(run["run_id"]))
        assert user_chat.events(run["run_id"])[-1]["data"]["status"] == "cancelled"


def test_the_completion_says_how_it_went(user_chat: Chat) -> None:
    accepted = user_chat.start_run({"tool": "echo"}, {"return": "done"}, timeout=30)
    events = user_chat.finish(accepted["run_id"])
    started, end = events[0]["data"], events[-1]["data"]

    assert accepted["run_id"] != accepted["thread_id"]
    assert end["execution_time_ms"] >= 0
    assert (end["result"]["success"], end["result"]["output"], end["error"]) == (True, "done", None)
    assert end["result"]["phase_count"] >= 9
    assert end["result"]["metadata"] == {
        "correlation_id": started["correlation_id"],
        "run_id": accepted["run_id"],
        "timeout": started["timeout"],
        "tier": started["tier"],
        "streaming": True,
    }
