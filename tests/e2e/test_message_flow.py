"""Deployment: from a message to its answer, and what happens when one is sent twice or too early."""

from __future__ import annotations

from uuid import uuid4

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]


def test_a_message_is_accepted_before_its_events_and_answered_once(user_chat: Chat) -> None:
    accepted = user_chat.start_run({"return": {"answer": 42}}, message="How much?")
    events = user_chat.finish(accepted["run_id"])

    require_lawful(events)
    assert user_chat.frames.index(accepted) < user_chat.frames.index(events[0])
    assert events[0]["data"]["message"] == "How much?"
    assert events[-1]["data"]["result"]["output"] == {"answer": 42}


def test_the_same_request_sent_again_is_the_same_run(user_chat: Chat) -> None:
    request_id = f"again-{uuid4()}"
    first = user_chat.start_run({"return": 1}, request_id=request_id)
    second = user_chat.start_run({"return": 1}, request_id=request_id)
    other = user_chat.start_agent({"return": 2}, request_id=request_id)

    assert (second["run_id"], second["duplicate"]) == (first["run_id"], True)
    assert other["code"] == "request_id_reused"


def test_messages_of_a_thread_are_answered_one_after_the_other(user_chat: Chat) -> None:
    first = user_chat.start_run({"tool": "sleep", "arguments": {"seconds": 0.3}})
    thread = {"thread_id": first["thread_id"]}
    rejected = user_chat.start_agent({"return": 0}, on_busy="reject", **thread)
    second = user_chat.start_run({"return": 2}, **thread)
    before, after = user_chat.finish(first["run_id"]), user_chat.finish(second["run_id"])

    assert rejected["code"] == "busy"
    assert second["queue_position"] == 1
    assert user_chat.frames.index(before[-1]) < user_chat.frames.index(after[0])


def test_an_interrupt_ends_the_run_before_and_goes_next(user_chat: Chat) -> None:
    first = user_chat.start_run({"sleep": 600})
    second = user_chat.start_run({"return": 2}, thread_id=first["thread_id"], on_busy="interrupt")

    assert user_chat.finish(first["run_id"])[-1]["data"]["status"] == "cancelled"
    assert user_chat.finish(second["run_id"])[-1]["data"]["status"] == "completed"


def test_an_unknown_agent_and_an_empty_message_say_what_is_wrong(user_chat: Chat) -> None:
    assert user_chat.start_agent(agent="nobody")["code"] == "unknown_agent"
    empty = user_chat.start_agent({"return": 1}, message=" ")
    assert (empty["code"], empty["field"]) == ("invalid_message", "message")
