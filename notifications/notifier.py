"""Turns what happens in one run into its events: bounded, redacted, and recorded through the tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from msgspec import UNSET

from agents.bounds import MAX_LABEL_BYTES, cut_text, cut_value, split_text, to_json_value
from agents.bridge import ToolStatus
from agents.errors import UnknownExecution
from agents.events import (
    AgentCompleted,
    AgentStarted,
    AgentThinking,
    ApprovalRequested,
    ApprovalResolved,
    Decision,
    PartialResult,
    Problem,
    RunMetadata,
    RunRecovered,
    RunResult,
    ToolCompleted,
    ToolExecuting,
    ToolProgress,
    Usage,
)
from agents.phases import AgentExecutionPhase
from agents.redaction import redact
from agents.runs import Run
from agents.showing import shown
from agents.tracker import AgentExecutionTracker

_P = AgentExecutionPhase

MAX_REASON_BYTES: Final = 8_000
"""For the reason of an approval, next to which its arguments must have room."""


class WebSocketNotifier:
    """Agents get no more of it than their context offers; lifecycle events are the core's."""

    def __init__(self, tracker: AgentExecutionTracker, run: Run, *, steps_before: int) -> None:
        self._open_tracker: AgentExecutionTracker | None = tracker
        self._run = run
        self._steps = steps_before

    def close(self) -> None:
        """An agent that was left behind may live on; what it says from now on reaches nobody."""
        self._open_tracker = None

    @property
    def _tracker(self) -> AgentExecutionTracker:
        if self._open_tracker is None:
            raise UnknownExecution(f"{self._run.run_id} has ended, or another worker has it")
        return self._open_tracker

    async def notify_agent_started(self, *, streaming: bool) -> None:
        run = self._run
        event = AgentStarted(
            message=run.request.message,
            attempt=run.attempt,
            timeout=run.timeout,
            tier=run.tier,
            streaming=streaming,
            correlation_id=run.correlation_id,
        )
        await self._tracker.update_execution_state(run.run_id, _P.STARTING, event)

    async def notify_run_recovered(self, reason: str) -> None:
        await self._tracker.record_event(self._run.run_id, RunRecovered(attempt=self._run.attempt, reason=reason))

    async def notify_agent_thinking(
        self, reasoning: str, *, total_steps: int | None = None, progress_percentage: float | None = None
    ) -> None:
        self._steps += 1
        event = AgentThinking(
            reasoning=cut_text(str(reasoning)),
            step_number=self._steps,
            total_steps=UNSET if total_steps is None else total_steps,
            progress_percentage=UNSET if progress_percentage is None else progress_percentage,
        )
        if self._tracker.get_state(self._run.run_id).phase is _P.THINKING:
            await self._tracker.record_event(self._run.run_id, event)
        else:
            await self._tracker.update_execution_state(self._run.run_id, _P.THINKING, event)

    async def notify_tool_executing(self, tool_call_id: str, tool_name: str, arguments: Mapping[str, Any]) -> None:
        event = ToolExecuting(
            tool_call_id=tool_call_id, tool_name=cut_text(tool_name, MAX_LABEL_BYTES), arguments=shown(arguments)
        )
        await self._tracker.update_execution_state(self._run.run_id, _P.TOOL_EXECUTION, event, via=_P.TOOL_PREPARATION)

    async def notify_tool_progress(
        self, tool_call_id: str, message: str, *, progress_percentage: float | None = None
    ) -> None:
        event = ToolProgress(
            tool_call_id=tool_call_id,
            message=cut_text(str(message)),
            progress_percentage=UNSET if progress_percentage is None else progress_percentage,
        )
        await self._tracker.record_event(self._run.run_id, event)

    async def notify_tool_completed(
        self, tool_call_id: str, *, status: ToolStatus, result: object = None, error: Problem | None = None
    ) -> None:
        """Raises TypeError when `result` is not JSON."""
        tool_name, since = self._tracker.open_call(self._run.run_id, tool_call_id)
        told, _ = cut_value(redact(to_json_value(result)))
        event = ToolCompleted(
            tool_call_id=tool_call_id,
            tool_name=tool_name,
            status=status,
            duration_ms=_milliseconds_since(since),
            result=told if error is None else UNSET,
            error=UNSET if error is None else _bounded(error),
        )
        await self._tracker.record_event(self._run.run_id, event)

    async def notify_partial_result(self, message_id: str, delta: str, *, is_complete: bool) -> None:
        if self._tracker.get_state(self._run.run_id).phase is _P.AWAITING_APPROVAL:  # another part of the agent's waits
            await self.notify_agent_thinking("I am going on while I wait for an answer.")
        pieces = split_text(delta.encode("utf-8", "replace").decode())
        for number, piece in enumerate(pieces, 1):
            event = PartialResult(message_id=message_id, delta=piece, is_complete=is_complete and number == len(pieces))
            if self._tracker.get_state(self._run.run_id).phase is _P.LLM_INTERACTION:
                await self._tracker.record_event(self._run.run_id, event)
            else:
                await self._tracker.update_execution_state(self._run.run_id, _P.LLM_INTERACTION, event)

    async def notify_approval_requested(
        self,
        approval_id: str,
        reason: str,
        *,
        tool_name: str | None,
        arguments: dict[str, Any] | None,
        expires_at: datetime,
    ) -> None:
        """`arguments` are shown as they are: whoever asks has redacted them."""
        event = ApprovalRequested(
            approval_id=approval_id,
            reason=cut_text(str(reason), MAX_REASON_BYTES),
            tool_name=None if tool_name is None else cut_text(tool_name, MAX_LABEL_BYTES),
            arguments=arguments,
            expires_at=expires_at,
        )
        if self._tracker.get_state(self._run.run_id).phase is _P.AWAITING_APPROVAL:
            await self._tracker.record_event(self._run.run_id, event)
        else:
            await self._tracker.update_execution_state(self._run.run_id, _P.AWAITING_APPROVAL, event)

    async def notify_approval_resolved(
        self, approval_id: str, decision: Decision, *, arguments: dict[str, Any] | None
    ) -> None:
        """A run that awaits nothing else goes on thinking."""
        event = ApprovalResolved(approval_id=approval_id, decision=decision, arguments=arguments)
        run_id = self._run.run_id
        is_last = self._tracker.open_approvals(run_id) <= {approval_id}
        if is_last and self._tracker.get_state(run_id).phase is _P.AWAITING_APPROVAL:
            await self._tracker.update_execution_state(run_id, _P.THINKING, event)
        else:
            await self._tracker.record_event(run_id, event)

    async def notify_agent_completed(
        self,
        phase: AgentExecutionPhase,
        *,
        output: object,
        error: Problem | None,
        warnings: Sequence[str],
        streaming: bool,
        usage: Usage | None = None,
    ) -> None:
        run, state = self._run, self._tracker.get_state(self._run.run_id)
        told, was_cut = cut_value(output)
        notes = [cut_text(text.replace("\0", ""), MAX_LABEL_BYTES) for text in warnings]
        if was_cut:
            notes.append("The answer was too large for one event and was cut.")
        result = RunResult(
            success=phase is _P.COMPLETED,
            output=told,
            total_duration_ms=_milliseconds_since(run.created_at),
            phase_count=state.phase_count + 1,
            warnings=notes,
            metadata=RunMetadata(
                correlation_id=run.correlation_id,
                run_id=run.run_id,
                timeout=run.timeout,
                tier=run.tier,
                streaming=streaming,
                usage=UNSET if usage is None else usage,
            ),
        )
        event = AgentCompleted(
            status=cast("Any", phase.value),
            result=result,
            error=None if error is None else _bounded(error),
            execution_time_ms=_milliseconds_since(state.started_at) if state.started_at else 0.0,
        )
        await self._tracker.complete_execution(run.run_id, phase, event)


def _milliseconds_since(moment: datetime) -> float:
    return round(max(0.0, (datetime.now(UTC) - moment).total_seconds() * 1000), 3)


def _bounded(error: Problem) -> Problem:
    return Problem(cut_text(str(error.code)[:64]), cut_text(str(error.message), 8_000))
