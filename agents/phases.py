"""Where a run is, where it may go, and which event tells of it: one table, and it refuses what it does not list.

docs/phases.md is generated from this module.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agents.errors import IllegalTransition


class AgentExecutionPhase(StrEnum):
    CREATED = "created"
    WEBSOCKET_SETUP = "websocket_setup"
    CONTEXT_VALIDATION = "context_validation"
    STARTING = "starting"
    THINKING = "thinking"
    TOOL_PREPARATION = "tool_preparation"
    TOOL_EXECUTION = "tool_execution"
    LLM_INTERACTION = "llm_interaction"
    AWAITING_APPROVAL = "awaiting_approval"
    RESULT_PROCESSING = "result_processing"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


class Status(StrEnum):
    """The outcome class of a run; it follows from the phase, see `status_of`."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


_P = AgentExecutionPhase

TERMINAL: Final = frozenset({_P.COMPLETED, _P.FAILED, _P.TIMED_OUT, _P.CANCELLED, _P.LOST})
_BROKEN_OFF: Final = TERMINAL - {_P.COMPLETED}

_FORWARD: Final[dict[_P, frozenset[_P]]] = {
    _P.CREATED: frozenset({_P.WEBSOCKET_SETUP}),
    _P.WEBSOCKET_SETUP: frozenset({_P.CONTEXT_VALIDATION}),
    _P.CONTEXT_VALIDATION: frozenset({_P.STARTING}),
    _P.STARTING: frozenset({_P.THINKING}),
    _P.THINKING: frozenset({_P.TOOL_PREPARATION, _P.LLM_INTERACTION, _P.RESULT_PROCESSING, _P.AWAITING_APPROVAL}),
    _P.TOOL_PREPARATION: frozenset({_P.TOOL_EXECUTION, _P.THINKING, _P.AWAITING_APPROVAL}),
    _P.TOOL_EXECUTION: frozenset(
        {_P.TOOL_PREPARATION, _P.THINKING, _P.LLM_INTERACTION, _P.RESULT_PROCESSING, _P.AWAITING_APPROVAL}
    ),
    _P.LLM_INTERACTION: frozenset(
        {_P.THINKING, _P.TOOL_PREPARATION, _P.TOOL_EXECUTION, _P.RESULT_PROCESSING, _P.AWAITING_APPROVAL}
    ),
    _P.AWAITING_APPROVAL: frozenset({_P.THINKING, _P.TOOL_PREPARATION, _P.TOOL_EXECUTION, _P.RESULT_PROCESSING}),
    _P.RESULT_PROCESSING: frozenset({_P.THINKING, _P.COMPLETING}),
    _P.COMPLETING: frozenset({_P.COMPLETED}),
}

TRANSITIONS: Final[dict[_P, frozenset[_P]]] = {
    phase: _FORWARD[phase] | _BROKEN_OFF if phase in _FORWARD else frozenset() for phase in _P
}

ENTRY_EVENT: Final[dict[_P, str]] = {
    _P.STARTING: "agent_started",
    _P.THINKING: "agent_thinking",
    _P.TOOL_EXECUTION: "tool_executing",
    _P.AWAITING_APPROVAL: "approval_requested",
    **dict.fromkeys(sorted(TERMINAL), "agent_completed"),
}
"""The type of event with which a run enters a phase; phases that are not listed are entered in silence."""

EMITS_WHILE: Final[dict[_P, frozenset[str]]] = {
    _P.THINKING: frozenset({"agent_thinking", "approval_resolved"}),
    _P.LLM_INTERACTION: frozenset({"partial_result"}),
    _P.AWAITING_APPROVAL: frozenset({"approval_requested", "approval_resolved"}),
}
"""Further events of a phase. Those of an open tool call, tool_progress and tool_completed, come in any live phase, and
so does the approval_resolved of an open approval; with it a run that awaited nothing else goes back to thinking."""


def require_transition(current: AgentExecutionPhase, target: AgentExecutionPhase) -> None:
    """Raises IllegalTransition unless the table lists `current` → `target`."""
    if target not in TRANSITIONS[current]:
        raise IllegalTransition(current, target)


def is_terminal(phase: AgentExecutionPhase) -> bool:
    return phase in TERMINAL


def status_of(phase: AgentExecutionPhase) -> Status:
    if phase in TERMINAL:
        return Status(phase.value)
    return Status.PENDING if phase is _P.CREATED else Status.RUNNING


def diagram() -> str:
    """The table as a Mermaid state diagram; the way out of every live phase is drawn once, as a note."""
    lines = ["stateDiagram-v2", "    [*] --> created"]
    for phase, targets in _FORWARD.items():
        lines += [f"    {phase} --> {target}" for target in _P if target in targets]
    lines += [f"    {phase} --> [*]" for phase in _P if phase in TERMINAL]
    outs = ", ".join(phase for phase in _P if phase in _BROKEN_OFF)
    return "\n".join(
        [
            *lines,
            "    note right of created",
            f"        every live phase may also go to {outs}",
            "    end note",
        ]
    )
