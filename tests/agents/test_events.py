import json
from datetime import UTC, datetime
from typing import get_args

import pytest

from agents.events import (
    CRITICAL,
    MAX_FRAME_BYTES,
    AgentThinking,
    Envelope,
    Event,
    PartialResult,
    Problem,
    ToolCompleted,
    encode_frame,
)
from agents.phases import EMITS_WHILE, ENTRY_EVENT

AT = datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC)


def envelope(event: Event, **changes) -> Envelope:
    ids = {"run_id": "run_1", "thread_id": "thread_1", "agent_name": "analyst", "seq": 18, "timestamp": AT}
    return Envelope(type=event.type, data=event, **{**ids, **changes})


def test_a_frame_is_the_envelope_of_the_protocol():
    event = ToolCompleted(tool_call_id="tool_1", tool_name="echo", status="success", duration_ms=1.5, result={"a": 1})

    frame = encode_frame(envelope(event))

    assert json.loads(frame.text) == {
        "type": "tool_completed",
        "run_id": "run_1",
        "thread_id": "thread_1",
        "agent_name": "analyst",
        "seq": 18,
        "timestamp": "2026-11-21T09:00:00.123456Z",
        "data": {
            "tool_call_id": "tool_1",
            "tool_name": "echo",
            "status": "success",
            "duration_ms": 1.5,
            "result": {"a": 1},
        },
    }
    assert (frame.seq, frame.type, frame.at) == (18, "tool_completed", AT)


def test_a_child_run_names_its_parent():
    event = AgentThinking(reasoning="Hm.", step_number=1)

    assert json.loads(encode_frame(envelope(event, parent_run_id="run_0")).text)["parent_run_id"] == "run_0"


def test_what_is_not_set_is_not_on_the_wire_and_none_is_null():
    thinking = json.loads(encode_frame(envelope(AgentThinking(reasoning="Hm.", step_number=1))).text)
    tool = ToolCompleted(tool_call_id="t", tool_name="n", status="success", duration_ms=0.0, result=None)

    assert thinking["data"] == {"reasoning": "Hm.", "step_number": 1}
    assert json.loads(encode_frame(envelope(tool)).text)["data"]["result"] is None


def test_an_error_is_a_code_and_a_message():
    tool = ToolCompleted(
        tool_call_id="t", tool_name="n", status="error", duration_ms=0.0, error=Problem("broken", "It broke.")
    )

    data = json.loads(encode_frame(envelope(tool)).text)["data"]

    assert data["error"] == {"code": "broken", "message": "It broke."}
    assert "result" not in data


def test_a_frame_of_just_the_limit_is_made_and_one_byte_more_is_refused():
    def size(length: int) -> int:
        return len(encode_frame(envelope(PartialResult(message_id="m", delta="x" * length, is_complete=False))).text)

    most = MAX_FRAME_BYTES - size(0)

    assert size(most) == MAX_FRAME_BYTES
    with pytest.raises(ValueError, match="262,145 bytes is over 262,144"):
        size(most + 1)


def test_the_limit_counts_bytes_not_characters():
    with pytest.raises(ValueError, match="partial_result"):
        encode_frame(envelope(PartialResult(message_id="m", delta="€" * 90_000, is_complete=False)))


@pytest.mark.parametrize("text", ["\0", "\u202eright to left", "<script>alert(1)</script>", "💥é", 'a"b\\c\n'])
def test_a_text_comes_out_of_its_frame_as_it_went_in(text):
    frame = encode_frame(envelope(PartialResult(message_id="m", delta=text, is_complete=True)))

    assert json.loads(frame.text)["data"]["delta"] == text
    assert "\0" not in frame.text


def test_an_event_cannot_be_changed():
    event = AgentThinking(reasoning="Hm.", step_number=1)

    with pytest.raises(AttributeError):
        event.reasoning = "Ha."  # type: ignore[misc]


def test_every_type_that_phases_or_waiters_name_is_in_the_union():
    types = {event.type for event in get_args(Event)}

    assert types >= CRITICAL
    assert types >= {type_ for types_ in EMITS_WHILE.values() for type_ in types_}
    assert types | {"approval_requested"} >= set(ENTRY_EVENT.values())


def test_whoever_starts_or_ends_something_waits_for_the_commit():
    assert {"agent_started", "tool_executing", "tool_completed", "agent_completed"} <= CRITICAL
