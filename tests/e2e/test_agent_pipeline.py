"""Deployment: an agent that does real work, from the table that a user pastes to figures that can be checked."""

from __future__ import annotations

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, types_of

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]

TABLE = "region,revenue\nNorth,100\nSouth,250\nNorth,50\nWest,75\n"


def test_the_analyst_adds_up_what_was_pasted(user_chat: Chat) -> None:
    events = user_chat.run(agent="analyst", message=f"Total revenue by region?\n\n{TABLE}")

    require_lawful(events)
    output = str(events[-1]["data"]["result"]["output"])
    assert events[-1]["data"]["status"] == "completed"
    for region, total in [("North", "150"), ("South", "250"), ("West", "75")]:
        assert region in output
        assert total in output


def test_its_work_is_shown_step_by_step(user_chat: Chat) -> None:
    types = types_of(user_chat.run(agent="analyst", message=f"Total revenue by region?\n\n{TABLE}"))

    assert types[0] == "agent_started"
    assert "agent_thinking" in types
    assert types.index("tool_executing") < types.index("tool_completed") < types.index("agent_completed")


def test_without_a_table_it_says_what_it_needs(user_chat: Chat) -> None:
    events = user_chat.run(agent="analyst", message="What is the total?")

    require_lawful(events)
    assert "table" in str(events[-1]["data"]).lower()


def test_parallel_tools_are_paired_one_by_one(user_chat: Chat) -> None:
    calls = [{"tool": "sleep", "arguments": {"seconds": 0.01 * number}} for number in (3, 1, 2)]
    events = user_chat.run({"parallel": calls}, {"return": "done"})

    require_lawful(events)
    results = [event["data"]["result"] for event in events if event["type"] == "tool_completed"]
    assert sorted(results) == [0.01, 0.02, 0.03]
