from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.witness import Wire


def event(seq: int, run_id: str = "run_1") -> dict[str, Any]:
    return {"type": "agent_thinking", "run_id": run_id, "seq": seq}


@pytest.fixture
def wire() -> Wire:
    """A socket that was told of run_1 with last_seq 2."""
    wire = Wire()
    assert wire.received({"type": "connection_established", "runs": [{"run_id": "run_1", "last_seq": 2}]}) is None
    return wire


def test_events_in_order_are_fine(wire: Wire):
    assert [wire.received(event(seq)) for seq in (3, 4)] == [None, None]
    assert wire.received(event(1, "run_2")) is None


@pytest.mark.parametrize("seq", [1, 2, 4])
def test_event_out_of_turn_is_found(wire: Wire, seq: int):
    assert f"after 2 came {seq}" in str(wire.received(event(seq)))


def test_the_same_event_twice_is_found(wire: Wire):
    assert wire.received(event(3)) is None
    assert wire.received(event(3)) is not None


def test_resume_allows_one_step_back(wire: Wire):
    wire.sent({"type": "resume", "id": "1", "cursors": {"run_1": 0}})
    assert [wire.received(event(seq)) for seq in (3, 1, 2, 3)] == [None] * 4
    assert wire.received(event(1)) is not None


def test_caught_up_takes_the_permission_back(wire: Wire):
    wire.sent({"type": "resume", "id": "1", "cursors": {"run_1": 2}})
    assert wire.received(event(3)) is None
    assert wire.received({"type": "caught_up", "id": "1", "runs": {"run_1": 3}}) is None
    assert wire.received(event(3)) is not None


def test_caught_up_before_its_events_is_found(wire: Wire):
    wire.sent({"type": "resume", "id": "1", "cursors": {"run_1": 2}})
    assert "caught_up says 5" in str(wire.received({"type": "caught_up", "id": "1", "runs": {"run_1": 5}}))


def test_events_before_run_accepted_are_found(wire: Wire):
    assert wire.received(event(1, "run_2")) is None
    assert wire.received({"type": "run_accepted", "run_id": "run_2", "duplicate": False}) is not None
