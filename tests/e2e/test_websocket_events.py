"""Deployment: the frames of a run, as they come over a real socket."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, types_of

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]

ENVELOPE = {"type", "run_id", "thread_id", "agent_name", "seq", "timestamp", "data"}


def test_the_five_events_come_in_their_order(user_chat: Chat) -> None:
    events = user_chat.run({"tool": "echo", "arguments": {"n": 1}}, {"return": "done"})

    require_lawful(events)
    expected = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
    assert types_of(events) == expected


def test_every_event_has_the_envelope_of_the_protocol(user_chat: Chat) -> None:
    events = user_chat.run({"think": "Hm."}, {"stream": "one two", "chunks": 2})

    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    assert times == sorted(times)
    for event in events:
        assert set(event) == ENVELOPE
        assert re.fullmatch(r"run_\w{26}", event["run_id"])
        assert re.fullmatch(r"thread_\w{26}", event["thread_id"])


def test_a_tools_arguments_and_result_are_shown_and_its_secrets_are_not(user_chat: Chat) -> None:
    arguments = {"city": "Köln", "api_key": "k-1234", "deep": [{"password": "p-5678"}]}
    events = user_chat.run({"tool": "echo", "arguments": arguments})

    executing = next(event["data"] for event in events if event["type"] == "tool_executing")
    completed = next(event["data"] for event in events if event["type"] == "tool_completed")
    assert executing["arguments"] == completed["result"]
    assert executing["arguments"]["city"] == "Köln"
    assert "k-1234" not in str(events)
    assert "p-5678" not in str(events)


def test_a_ping_is_answered_and_nonsense_is_an_error_that_ends_nothing(user_chat: Chat) -> None:
    assert user_chat.ask(type="ping", id="p1")["id"] == "p1"
    user_chat.send_raw("{")
    assert user_chat.answer()["code"] == "invalid_json"
    assert user_chat.ask(type="dance")["code"] == "unknown_type"
    assert user_chat.ask(type="ping", pong=True)["code"] == "invalid_message"
    assert user_chat.ask(type="ping", id="p2")["id"] == "p2"
