"""A run as values: what it is, how far it has come, and what is to be written of it. No framework, no I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from agents.events import Frame
from agents.phases import AgentExecutionPhase, Status, status_of


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked for, as it is stored with the run; `timeout` in seconds, None for the tier's."""

    agent: str
    message: str
    thread_id: str | None = None
    params: dict[str, Any] = {}
    timeout: float | None = None
    on_busy: str = "enqueue"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while one worker has the run. `attempt` is its fencing token, `timeout` in seconds."""

    pk: int
    run_id: str
    thread_id: str
    parent_run_id: str | None
    user_id: int
    agent_name: str
    request: RunRequest
    correlation_id: str
    tier: str
    timeout: float
    attempt: int
    created_at: datetime


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come; changed only by making another (`msgspec.structs.replace`)."""

    phase: AgentExecutionPhase
    last_seq: int
    phase_count: int
    phase_entered_at: datetime
    last_progress_at: datetime
    started_at: datetime | None = None
    outcome: Outcome | None = None

    @property
    def status(self) -> Status:
        return status_of(self.phase)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended; `result` is the JSON text of agent_completed's result."""

    at: datetime
    result: str
    warnings: list[str]
    error_code: str = ""
    error_message: str = ""


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the phase history; `duration_ms` is how long the run was in `from_phase`."""

    ordinal: int
    from_phase: AgentExecutionPhase
    to_phase: AgentExecutionPhase
    at: datetime
    duration_ms: float
    event_seq: int | None


class RunWrite(msgspec.Struct, kw_only=True):
    """All that one transaction writes of one run, conditional on (attempt, expected_seq, expected_phase_count)."""

    run: Run
    expected_seq: int
    expected_phase_count: int
    state: RunState
    frames: list[Frame]
    transitions: list[Transition]


class CommittedBatch(msgspec.Struct, frozen=True):
    """Events of one run that are now in the log, in order and without gaps."""

    user_id: int
    run_id: str
    first_seq: int
    texts: list[str]
