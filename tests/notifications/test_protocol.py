import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import Busy, LimitReached, NetraError, NotReady
from notifications import protocol
from notifications.protocol import (
    MAX_MESSAGE_BYTES,
    Ack,
    CancelRun,
    Ping,
    ResolveApproval,
    Resume,
    StartAgent,
    encode,
    error_frame,
    read,
)

START = {"type": "start_agent", "request_id": "r1", "agent": "analyst", "message": "Go."}
RESUME = {"type": "resume", "cursors": {}}


def without(message: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != field}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (START, StartAgent(request_id="r1", agent="analyst", message="Go.")),
        (
            START | {"thread_id": "thread_1", "params": {"a": [1, None]}, "timeout": 2, "on_busy": "interrupt"},
            StartAgent(
                request_id="r1",
                agent="analyst",
                message="Go.",
                thread_id="thread_1",
                params={"a": [1, None]},
                timeout=2.0,
                on_busy="interrupt",
            ),
        ),
        ({"type": "cancel_run", "run_id": "run_1"}, CancelRun(run_id="run_1")),
        (
            {"type": "resolve_approval", "run_id": "r", "approval_id": "a", "decision": "reject", "comment": "No."},
            ResolveApproval(run_id="r", approval_id="a", decision="reject", comment="No."),
        ),
        ({"type": "resume", "cursors": {"run_1": 0}, "id": "x"}, Resume(cursors={"run_1": 0}, id="x")),
        (RESUME, Resume(cursors={})),
        ({"type": "ack", "cursors": {"run_1": 5}}, Ack(cursors={"run_1": 5})),
        ({"type": "ping"}, Ping()),
        ({"type": "ping", "id": ""}, Ping(id="")),
        ({"type": "ping", "id": "x" * 64}, Ping(id="x" * 64)),
        (START | {"request_id": "x" * 64}, StartAgent(request_id="x" * 64, agent="analyst", message="Go.")),
    ],
)
def test_a_message_of_the_protocol_is_read(raw, message):
    assert read(json.dumps(raw)) == protocol.Reading(message=message)


@pytest.mark.parametrize("text", ["", "{", "no", "{'type': 'ping'}", "[" * 10_000, '{"a":1}x', '"\\ud800"', "\ufeff{}"])
def test_what_is_not_json_is_said_to_be_none(text):
    error = read(text).error

    assert error is not None
    assert error.code == "invalid_json"


def test_a_binary_frame_is_not_read():
    error = read(None).error

    assert error is not None
    assert error.code == "invalid_json"


@pytest.mark.parametrize("raw", [1, None, "ping", [], [{"type": "ping"}], True])
def test_what_is_no_object_is_no_message(raw):
    error = read(json.dumps(raw)).error

    assert error is not None
    assert error.code == "invalid_message"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({}, "type"),
        ({"type": 1}, "type"),
        ({"type": None}, "type"),
        (without(START, "request_id"), "request_id"),
        (without(START, "agent"), "agent"),
        (without(START, "message"), "message"),
        (START | {"request_id": ""}, "request_id"),
        (START | {"request_id": "x" * 65}, "request_id"),
        (START | {"request_id": 7}, "request_id"),
        (START | {"agent": None}, "agent"),
        (START | {"message": ["Go."]}, "message"),
        (START | {"thread_id": 5}, "thread_id"),
        (START | {"params": []}, "params"),
        (START | {"params": None}, "params"),
        (START | {"timeout": "5"}, "timeout"),
        (START | {"timeout": True}, "timeout"),
        (START | {"on_busy": "wait"}, "on_busy"),
        (START | {"on_bussy": "reject"}, "on_bussy"),
        (START | {"user_id": "1"}, "user_id"),
        ({"type": "cancel_run"}, "run_id"),
        ({"type": "resolve_approval", "run_id": "r", "approval_id": "a", "decision": "maybe"}, "decision"),
        ({"type": "resolve_approval", "run_id": "r", "decision": "approve"}, "approval_id"),
        (
            {"type": "resolve_approval", "run_id": "r", "approval_id": "a", "decision": "reject", "arguments": [1]},
            "arguments",
        ),
        ({"type": "cancel_run", "run_id": 1}, "run_id"),
        ({"type": "resume"}, "cursors"),
        ({"type": "resume", "cursors": []}, "cursors"),
        ({"type": "resume", "cursors": {"run_1": -1}}, "cursors"),
        ({"type": "resume", "cursors": {"run_1": "1"}}, "cursors"),
        ({"type": "resume", "cursors": {"run_1": 1.5}}, "cursors"),
        (RESUME | {"id": 5}, "id"),
        (RESUME | {"id": "x" * 65}, "id"),
        ({"type": "ack", "cursors": {"run_1": None}}, "cursors"),
        ({"type": "ping", "id": "x" * 65}, "id"),
        ({"type": "ping", "Id": "x"}, "Id"),
    ],
)
def test_a_field_that_is_missing_unknown_or_wrong_is_named(raw, field):
    error = read(json.dumps(raw)).error

    assert error is not None
    assert (error.code, error.field) == ("invalid_message", field)
    assert field in error.message


@pytest.mark.parametrize("type_", ["", "start", "START_AGENT", "resolve", "connection_established", "x" * 1_000])
def test_an_unknown_type_is_told_with_the_known_ones(type_):
    error = read(json.dumps({"type": type_})).error

    assert error is not None
    assert (error.code, error.field) == ("unknown_type", "type")
    assert "start_agent" in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize("character", ["x", "é", "💥"])
def test_a_message_of_just_the_limit_in_bytes_is_read_and_one_more_is_not(character):
    base = len(json.dumps(START | {"message": ""}).encode())
    fits, left = divmod(MAX_MESSAGE_BYTES - base, len(character.encode()))
    message = "x" * left + character * fits

    exact = json.dumps(START | {"message": message}, ensure_ascii=False)
    assert len(exact.encode()) == MAX_MESSAGE_BYTES
    assert read(exact).message is not None
    error = read(exact.replace("x" * left + character, "xx" + "x" * left + character, 1)).error
    assert error is not None
    assert error.code == "message_too_large"


def test_an_error_repeats_the_ids_of_what_it_answers():
    error = read(json.dumps(without(START, "agent"))).error
    assert error is not None
    assert error.request_id == "r1"
    assert error.run_id is msgspec.UNSET

    error = read(json.dumps({"type": "cancel_run", "run_id": "run_1", "x": 1})).error
    assert error is not None
    assert error.run_id == "run_1"


@pytest.mark.parametrize("request_id", ["x" * 65, 7, None, ["r"]])
def test_an_id_that_is_none_is_not_repeated(request_id):
    error = read(json.dumps(START | {"request_id": request_id, "oops": 1})).error

    assert error is not None
    assert error.request_id is msgspec.UNSET


def test_an_error_frame_has_what_applies_and_no_more():
    assert json.loads(encode(error_frame(Busy("The thread is busy.")))) == {
        "type": "error",
        "code": "busy",
        "message": "The thread is busy.",
    }
    frame = json.loads(encode(error_frame(NotReady("Wait.", retry_after=2.0), answered={"request_id": "r1"})))
    assert frame == {"type": "error", "code": "not_ready", "message": "Wait.", "request_id": "r1", "retry_after": 2.0}
    assert json.loads(encode(error_frame(LimitReached("Too many.", field="f"))))["field"] == "f"


def test_every_error_has_a_code_of_the_protocol():
    codes = set(
        "invalid_json invalid_message unknown_type message_too_large unknown_agent not_found invalid_cursor"
        " request_id_reused busy limit_reached rate_limited agent_unavailable not_ready session_ended approval_closed"
        " internal".split()
    )

    def kinds(of: type[NetraError]) -> set[type[NetraError]]:
        return {of} | {kind for sub in of.__subclasses__() for kind in kinds(sub)}

    assert {kind.code for kind in kinds(NetraError) if kind.__module__.startswith(("agents", "notif"))} <= codes


def test_the_first_frame_looks_as_the_protocol_says():
    frame = protocol.ConnectionEstablished(
        protocol=1,
        connection_id="conn_1",
        user_id="7",
        server_time=datetime(2026, 11, 21, tzinfo=UTC),
        heartbeat_s=20,
        runs=[
            protocol.LiveRun(
                run_id="run_1",
                thread_id="thread_1",
                agent_name="analyst",
                status="running",
                phase="thinking",
                last_seq=17,
            )
        ],
    )

    assert json.loads(encode(frame)) == {
        "type": "connection_established",
        "protocol": 1,
        "connection_id": "conn_1",
        "user_id": "7",
        "server_time": "2026-11-21T00:00:00Z",
        "heartbeat_s": 20,
        "runs": [
            {
                "run_id": "run_1",
                "thread_id": "thread_1",
                "agent_name": "analyst",
                "status": "running",
                "phase": "thinking",
                "last_seq": 17,
            }
        ],
    }


def test_the_ids_of_pong_and_caught_up_are_null_when_none_was_given():
    assert json.loads(encode(protocol.CaughtUp(id=None, runs={}))) == {"type": "caught_up", "id": None, "runs": {}}
    assert json.loads(encode(protocol.Pong(id=None, server_time=protocol.now())))["id"] is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    "type request_id agent message thread_id params timeout on_busy run_id approval_id decision cursors id x".split()
) | st.text(max_size=5)
types = st.sampled_from(["start_agent", "cancel_run", "resolve_approval", "resume", "ack", "ping"])


def is_answer(reading: protocol.Reading) -> bool:
    """Either a message or an error that can be sent."""
    if reading.error is None:
        return reading.message is not None
    return reading.message is None and bool(encode(reading.error))


@given(st.none() | st.text() | st.text(st.characters(categories=["Cs", "Cc"]), max_size=5))
def test_no_text_whatever_makes_reading_raise(text):
    assert is_answer(read(text))


@given(st.dictionaries(fields, json_values, max_size=6), types)
def test_no_object_whatever_makes_reading_raise(raw, type_):
    for message in (raw, raw | {"type": type_}):
        reading = read(json.dumps(message))
        assert is_answer(reading)
        if reading.error is not None:
            assert reading.error.code in ("invalid_message", "unknown_type")


@given(json_values, types)
def test_a_start_may_carry_any_params(value, type_):
    reading = read(json.dumps(START | {"params": {"value": value}}))

    assert isinstance(reading.message, StartAgent)
    assert msgspec.json.encode(reading.message)


def test_a_message_nested_too_deep_is_refused():
    text = '{"type":"ack","cursors":{},"x":' + "[" * 70 + "]" * 70 + "}"

    error = protocol.read(text).error

    assert error is not None
    assert error.code == "invalid_message"
