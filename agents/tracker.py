"""The state machine of every run that this process executes, on top of the journal.

A run's truth is its record in the database. The tracker keeps a working copy of each run that this worker owns; if
the two ever disagree, the next write fails as Fenced and the worker stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import msgspec
from msgspec.structs import replace

from agents.database import in_database
from agents.errors import IllegalEvent, NotReady, UnknownExecution
from agents.events import (
    CRITICAL,
    AgentCompleted,
    ApprovalRequested,
    ApprovalResolved,
    Envelope,
    Event,
    Frame,
    Problem,
    RunRecovered,
    ToolCompleted,
    ToolExecuting,
    ToolProgress,
    encode_frame,
)
from agents.leases import Claim
from agents.phases import EMITS_WHILE, ENTRY_EVENT, AgentExecutionPhase, is_terminal, require_transition
from agents.registration import Registered, Terms, register
from agents.runs import Outcome, Run, RunRequest, RunState, Transition


class Writer(Protocol):
    """What writes a run's rows: the journal, see there."""

    async def write(
        self,
        run: Run,
        before: RunState,
        after: RunState,
        *,
        frames: Sequence[Frame],
        transitions: Sequence[Transition],
        wait: bool,
    ) -> None: ...

    def forget(self, run: Run) -> None: ...


class _OpenCall(msgspec.Struct, frozen=True):
    tool_name: str
    since: datetime


class _Tracked(msgspec.Struct, eq=False):
    run: Run
    state: RunState
    open_calls: dict[str, _OpenCall]
    open_approvals: set[str]


class _Step(msgspec.Struct):
    """Rows that one call of the tracker makes, before they go to the journal together."""

    now: datetime
    before: RunState
    after: RunState
    events: list[Event] = []
    frames: list[Frame] = []
    transitions: list[Transition] = []


class AgentExecutionTracker:
    """Refuses, by raising, whatever design.md's table and the log's laws do not allow; then nothing is written."""

    def __init__(self, journal: Writer) -> None:
        self._journal = journal
        self._tracked: dict[str, _Tracked] = {}

    async def register_execution(
        self, *, user_id: int, request_id: str, request: RunRequest, terms: Callable[[], Terms]
    ) -> Registered:
        """Makes the record of a new run, or finds the one that this user made with this request_id before."""
        return await in_database(register, user_id=user_id, request_id=request_id, request=request, terms=terms)

    def start_execution(
        self,
        claim: Claim,
        *,
        open_calls: dict[str, tuple[str, datetime]] | None = None,
        open_approvals: Iterable[str] = (),
    ) -> None:
        """Begins to track a run that this worker has claimed; what is open is what an earlier attempt left."""
        if not isinstance(claim, Claim):
            raise TypeError(f"start_execution takes a Claim, not {type(claim).__name__}")
        calls = {call_id: _OpenCall(*call) for call_id, call in (open_calls or {}).items()}
        self._tracked[claim.run.run_id] = _Tracked(claim.run, claim.state, calls, set(open_approvals))

    def get_state(self, run_id: str) -> RunState:
        return self._find(run_id).state

    async def update_execution_state(
        self,
        run_id: str,
        phase: AgentExecutionPhase,
        event: Event | None = None,
        *,
        via: AgentExecutionPhase | None = None,
    ) -> None:
        """Moves a run to `phase` (through `via`), with the event that tells of it where the table lists one.

        Raises IllegalTransition, IllegalEvent, UnknownExecution or TypeError; Fenced if the run is not ours any more.
        """
        if not isinstance(phase, AgentExecutionPhase):
            raise TypeError(f"phase must be an AgentExecutionPhase, not {phase!r}")
        tracked = self._find(run_id)
        if is_terminal(phase):
            raise IllegalEvent("a run is ended by complete_execution, with its outcome")
        wanted, given = ENTRY_EVENT.get(phase), event.type if event is not None else None
        if given != wanted and given not in EMITS_WHILE.get(phase, ()):
            raise IllegalEvent(f"phase {phase} is entered with {wanted or 'no event'}, not with {event!r}")
        if isinstance(event, ToolExecuting) and event.tool_call_id in tracked.open_calls:
            raise IllegalEvent(f"tool call {event.tool_call_id} is open already")
        if isinstance(event, ApprovalResolved):
            self._require_allowed(tracked, event)
        step = self._begin(tracked)
        if via is not None:
            self._move(tracked, step, via, None)
        self._move(tracked, step, phase, event)
        await self._write(tracked, step)

    async def record_event(self, run_id: str, event: Event) -> None:
        """Adds an event that changes no phase. Raises IllegalEvent when the run's phase or tool calls forbid it."""
        tracked = self._find(run_id)
        self._require_allowed(tracked, event)
        step = self._begin(tracked)
        self._add(tracked, step, event)
        await self._write(tracked, step)

    async def complete_execution(self, run_id: str, phase: AgentExecutionPhase, event: AgentCompleted) -> None:
        """Ends a run: closes the tool calls and approvals still open, then its one agent_completed.

        Returns when committed. From the first line on nothing else can be recorded of this run.
        """
        tracked = self._find(run_id)
        if not is_terminal(phase) or event.status != phase.value:
            raise IllegalEvent(f"phase {phase} does not end a run as {event.status}")
        require_transition(tracked.state.phase, phase)
        step = self._begin(tracked)
        for call_id in list(tracked.open_calls):
            self._add(tracked, step, _cut_off(tracked, call_id, phase, step.now))
        for approval_id in sorted(tracked.open_approvals):
            self._add(tracked, step, ApprovalResolved(approval_id=approval_id, decision="expired", arguments=None))
        self._move(tracked, step, phase, event)
        step.after = replace(step.after, outcome=_outcome_of(event, step.now))
        await self._write(tracked, step)

    def stop_tracking(self, run_id: str) -> None:
        """Forgets a run that has ended or that another worker owns."""
        if (tracked := self._tracked.pop(run_id, None)) is not None:
            self._journal.forget(tracked.run)

    def open_call(self, run_id: str, tool_call_id: str) -> tuple[str, datetime]:
        """The name of a running call's tool and when it began. Raises IllegalEvent if no such call is open."""
        call = self._find(run_id).open_calls.get(tool_call_id)
        if call is None:
            raise IllegalEvent(f"no tool call {tool_call_id} is open in {run_id}")
        return call.tool_name, call.since

    def open_approvals(self, run_id: str) -> frozenset[str]:
        """The approvals that were asked for and have not been resolved."""
        return frozenset(self._find(run_id).open_approvals)

    def _find(self, run_id: str) -> _Tracked:
        tracked = self._tracked.get(run_id)
        if tracked is None or tracked.state.outcome is not None:
            raise UnknownExecution(f"{run_id} is not being executed here, or has ended")
        return tracked

    def _require_allowed(self, tracked: _Tracked, event: Event) -> None:
        match event:
            case ToolProgress() | ToolCompleted():
                allowed = event.tool_call_id in tracked.open_calls
            case ApprovalResolved():
                allowed = event.approval_id in tracked.open_approvals
            case RunRecovered():
                allowed = tracked.run.attempt > 1
            case _:
                allowed = event.type in EMITS_WHILE.get(tracked.state.phase, ())
        if not allowed:
            raise IllegalEvent(f"{event!r} is not allowed in {tracked.run.run_id}, phase {tracked.state.phase}")

    def _begin(self, tracked: _Tracked) -> _Step:
        return _Step(datetime.now(UTC), tracked.state, tracked.state)

    def _move(self, tracked: _Tracked, step: _Step, phase: AgentExecutionPhase, event: Event | None) -> None:
        state = step.after
        require_transition(state.phase, phase)
        if event is not None:
            self._add(tracked, step, event)
        transition = Transition(
            ordinal=state.phase_count + 1,
            from_phase=state.phase,
            to_phase=phase,
            at=step.now,
            duration_ms=round(max(0.0, (step.now - state.phase_entered_at).total_seconds() * 1000), 3),
            event_seq=step.after.last_seq if event is not None else None,
        )
        step.transitions.append(transition)
        step.after = replace(
            step.after,
            phase=phase,
            phase_count=transition.ordinal,
            phase_entered_at=step.now,
            last_progress_at=step.now,
            started_at=step.now if phase is AgentExecutionPhase.STARTING else state.started_at,
        )

    def _add(self, tracked: _Tracked, step: _Step, event: Event) -> None:
        run = tracked.run
        envelope = Envelope(
            type=event.type,
            run_id=run.run_id,
            thread_id=run.thread_id,
            agent_name=run.agent_name,
            seq=step.after.last_seq + 1,
            timestamp=step.now,
            data=event,
            parent_run_id=run.parent_run_id or msgspec.UNSET,
        )
        step.frames.append(encode_frame(envelope))
        step.events.append(event)
        step.after = replace(step.after, last_seq=envelope.seq, last_progress_at=step.now)

    async def _write(self, tracked: _Tracked, step: _Step) -> None:
        tracked.state = step.after
        for event in step.events:
            match event:
                case ToolExecuting():
                    tracked.open_calls[event.tool_call_id] = _OpenCall(event.tool_name, step.now)
                case ToolCompleted():
                    tracked.open_calls.pop(event.tool_call_id, None)
                case ApprovalRequested():
                    tracked.open_approvals.add(event.approval_id)
                case ApprovalResolved():
                    tracked.open_approvals.discard(event.approval_id)
                case _:
                    pass
        wait = any(frame.type in CRITICAL for frame in step.frames)
        await self._journal.write(
            tracked.run, step.before, step.after, frames=step.frames, transitions=step.transitions, wait=wait
        )


_CUT_OFF: Final[dict[AgentExecutionPhase, tuple[Literal["error", "timed_out", "cancelled"], Problem]]] = {
    AgentExecutionPhase.TIMED_OUT: ("timed_out", Problem("timed_out", "The run's time was over.")),
    AgentExecutionPhase.LOST: ("error", Problem("lost", "The worker died while the tool was running.")),
}
_ENDED_EARLY: Final = ("cancelled", Problem("cancelled", "The run ended before the tool did."))


def _cut_off(tracked: _Tracked, tool_call_id: str, phase: AgentExecutionPhase, now: datetime) -> ToolCompleted:
    """The end of a tool call whose run ends before it."""
    call = tracked.open_calls[tool_call_id]
    status, error = _CUT_OFF.get(phase, _ENDED_EARLY)
    return ToolCompleted(
        tool_call_id=tool_call_id,
        tool_name=call.tool_name,
        status=status,
        duration_ms=round(max(0.0, (now - call.since).total_seconds() * 1000), 3),
        error=error,
    )


def _outcome_of(event: AgentCompleted, now: datetime) -> Outcome:
    return Outcome(
        at=now,
        result=msgspec.json.encode(event.result).decode(),
        warnings=event.result.warnings,
        error_code=event.error.code.replace("\0", "") if event.error else "",
        error_message=event.error.message.replace("\0", "") if event.error else "",
    )


_process_tracker: list[AgentExecutionTracker] = []


def set_execution_tracker(tracker: AgentExecutionTracker) -> None:
    """Makes `tracker` the one of this process; netra does, when it puts the process together."""
    _process_tracker[:] = [tracker]


def get_execution_tracker() -> AgentExecutionTracker:
    """The tracker of this process. Raises NotReady in a process that executes no runs."""
    if not _process_tracker:
        raise NotReady("This process executes no runs.")
    return _process_tracker[0]
