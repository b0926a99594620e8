"""The events of a run: immutable values in a closed union, and the frames made of them (protocol.md).

An event is encoded once; the same text is stored in the log and sent to every socket.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

MAX_FRAME_BYTES: Final = 262_144
"""No event is larger on the wire (protocol.md, Duties)."""


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    type: ClassVar[str]


class Problem(msgspec.Struct, frozen=True):
    """What went wrong: a stable code for programs, a sentence for people."""

    code: str
    message: str


class AgentStarted(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "agent_started"
    message: str
    attempt: int
    timeout: float
    tier: str
    streaming: bool
    correlation_id: str


class AgentThinking(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "agent_thinking"
    reasoning: str
    step_number: int
    total_steps: int | UnsetType = UNSET
    progress_percentage: float | UnsetType = UNSET


class ToolExecuting(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "tool_executing"
    tool_call_id: str
    tool_name: str
    arguments: dict[str, Any]


class ToolProgress(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "tool_progress"
    tool_call_id: str
    message: str
    progress_percentage: float | UnsetType = UNSET


class ToolCompleted(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "tool_completed"
    tool_call_id: str
    tool_name: str
    status: Literal["success", "error", "timed_out", "cancelled"]
    duration_ms: float
    result: Any | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


class PartialResult(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "partial_result"
    message_id: str
    delta: str
    is_complete: bool


Decision = Literal["approved", "rejected", "expired"]


class ApprovalRequested(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "approval_requested"
    approval_id: str
    reason: str
    tool_name: str | None
    arguments: dict[str, Any] | None
    expires_at: datetime


class ApprovalResolved(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "approval_resolved"
    approval_id: str
    decision: Decision
    arguments: dict[str, Any] | None


class RunRecovered(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "run_recovered"
    attempt: int
    reason: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asked of language models; `cost` in US dollars, where it is known."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | UnsetType = UNSET


class RunMetadata(msgspec.Struct, frozen=True, kw_only=True):
    correlation_id: str
    run_id: str
    timeout: float
    tier: str
    streaming: bool
    usage: Usage | UnsetType = UNSET


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    success: bool
    output: Any
    total_duration_ms: float
    phase_count: int
    warnings: list[str]
    metadata: RunMetadata


class AgentCompleted(_Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "agent_completed"
    status: Literal["completed", "failed", "timed_out", "cancelled", "lost"]
    result: RunResult
    error: Problem | None
    execution_time_ms: float


Event = (
    AgentStarted
    | AgentThinking
    | ToolExecuting
    | ToolProgress
    | ToolCompleted
    | PartialResult
    | ApprovalRequested
    | ApprovalResolved
    | RunRecovered
    | AgentCompleted
)

CRITICAL: Final = frozenset(
    {
        "agent_started",
        "tool_executing",
        "tool_completed",
        "approval_requested",
        "approval_resolved",
        "run_recovered",
        "agent_completed",
    }
)
"""Whoever records one of these waits until it is committed: nothing acts on an event that may not exist."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A frame as the client sees it (protocol.md, Events)."""

    type: str
    run_id: str
    thread_id: str
    agent_name: str
    seq: int
    timestamp: datetime
    data: Event
    parent_run_id: str | UnsetType = UNSET


class Frame(msgspec.Struct, frozen=True):
    """An event with its place in the log and its text on the wire."""

    seq: int
    type: str
    text: str
    at: datetime


_encode = msgspec.json.Encoder().encode


def encode_frame(envelope: Envelope) -> Frame:
    """Raises ValueError when the frame would be larger than MAX_FRAME_BYTES; whoever made the event bounds it."""
    encoded = _encode(envelope)
    if len(encoded) > MAX_FRAME_BYTES:
        raise ValueError(f"a {envelope.type} event of {len(encoded):,} bytes is over {MAX_FRAME_BYTES:,} bytes")
    return Frame(envelope.seq, envelope.type, encoded.decode(), envelope.timestamp)
