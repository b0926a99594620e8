"""What operators do to runs, each with its row in the audit trail: one transaction, decided when the run is locked.

Sync. A run that an action cannot apply to is left as it is, and the outcome says why.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec
from django.db import transaction
from django.utils import timezone

from agents.agreement import Agreement
from agents.bridge import AgentWebSocketBridge
from agents.core import AgentExecutionCore
from agents.desk import Desk, RemoteRunner
from agents.errors import Fenced, NetraError
from agents.events import Frame, Problem
from agents.execution import Ending
from agents.journal import batch_of, count_written
from agents.leases import let_go, seize
from agents.model_answers import forget_answers
from agents.models import AgentExecution, OperatorAction
from agents.notices import notice_leave
from agents.phases import AgentExecutionPhase
from agents.progress import read_progress
from agents.registration import register, request_cancel
from agents.registry import AgentRegistry
from agents.runs import Run, RunRequest, RunState, RunWrite, Transition
from agents.telling import tell_of_answer, tell_of_cancel, tell_of_run, tell_to_leave
from agents.tracker import AgentExecutionTracker
from agents.transactions import commit
from agents.watchdog import may_be_tried

ENDED_BY_OPERATOR: Final = Ending(
    AgentExecutionPhase.FAILED,
    error=Problem("ended_by_operator", "An operator ended this run. You can start it again."),
)


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts, and why."""

    by_id: int
    by_name: str
    reason: str

    def note(self, action: str, run_id: str, outcome: Outcome) -> Outcome:
        OperatorAction.objects.create(
            by_id=self.by_id,
            by_name=self.by_name,
            action=action,
            run_id=run_id,
            reason=self.reason.replace("\0", ""),
            applied=outcome.applied,
            outcome=outcome.words,
        )
        return outcome


class Outcome(msgspec.Struct, frozen=True):
    """Whether anything was changed, and what came of it in words."""

    applied: bool
    words: str


class Interventions:
    def __init__(self, *, registry: AgentRegistry, agreement: Agreement, bridge: AgentWebSocketBridge) -> None:
        self._registry = registry
        self._agreement = agreement
        self._bridge = bridge

    def cancel(self, run_id: str, operator: Operator) -> Outcome:
        """As its user could: the run ends as cancelled, with what it has said so far."""
        with transaction.atomic():
            outcome = _cancel(_locked(run_id))
            operator.note("cancel", run_id, outcome)
        if outcome.applied:
            tell_of_cancel(run_id)
        return outcome

    def end(self, run_id: str, operator: Operator) -> Outcome:
        """Writes the run's one agent_completed, whatever its worker does or has become of it."""
        writer = _AtOnce()
        with transaction.atomic():
            claim = seize(run_id)
            if claim is None:
                return operator.note("end", run_id, _ended(run_id))
            core = AgentExecutionCore(
                registry=self._registry,
                tracker=AgentExecutionTracker(writer),
                bridge=self._bridge,
                agreement=self._agreement,
            )
            progress, desk = read_progress(claim.run.pk), Desk(RemoteRunner())
            _through(core.end(claim, progress, ENDED_BY_OPERATOR, desk))
            forget_answers(claim.run.pk)
            notice_leave(run_id)
            words = f"Ended as failed. It was in {claim.state.phase.value.replace('_', ' ')}."
            outcome = operator.note("end", run_id, Outcome(True, words))
        count_written(writer.written)
        self._bridge.publish([batch_of(write) for write in writer.written])
        tell_to_leave(run_id)
        if claim.run.parent_run_id is not None:
            tell_of_answer(claim.run.parent_run_id)
        return outcome

    def retry(self, run_id: str, operator: Operator, *, form_id: str) -> Outcome:
        """Makes a new run with the same request in the same thread; the same form sent twice makes one."""
        with transaction.atomic():
            run = AgentExecution.objects.filter(run_id=run_id).select_related("thread").first()
            outcome = self._retry(run, form_id)
            operator.note("retry", run_id, outcome)
        return outcome

    def hand_over(self, run_id: str, operator: Operator) -> Outcome:
        """Takes a restartable run from its worker, so that another attempt starts."""
        with transaction.atomic():
            outcome = _hand_over(_locked(run_id))
            operator.note("hand_over", run_id, outcome)
        if outcome.applied:
            tell_to_leave(run_id)
        return outcome

    def _retry(self, run: AgentExecution | None, form_id: str) -> Outcome:
        if run is None:
            return _GONE
        if run.completed_at is None:
            return Outcome(False, "It has not ended. Cancel it or end it first.")
        if run.parent_id is not None:
            return Outcome(False, "Another run started it. Retry that one.")
        request = msgspec.json.decode(run.request, type=RunRequest)
        request = msgspec.structs.replace(request, thread_id=run.thread.thread_id, on_busy="enqueue")
        try:
            with transaction.atomic():
                made = register(
                    user_id=run.user_id,
                    request_id=f"operator {form_id} {run.pk}",
                    request=request,
                    terms=lambda: self._agreement.with_user(run.user_id, request, admit=_admit),
                )
        except NetraError as error:
            return Outcome(False, f"No new run was made: {error.message}")
        if made.duplicate:
            return Outcome(False, f"It was retried already, as {made.run_id}.")
        transaction.on_commit(lambda: tell_of_run(made.run_id))
        return Outcome(True, f"Retried as {made.run_id}.")


def _admit() -> None:
    """An operator's starts do not count as the user's."""


def _locked(run_id: str) -> AgentExecution | None:
    return AgentExecution.objects.filter(run_id=run_id).select_for_update(no_key=True).first()


def _ended(run_id: str) -> Outcome:
    run = AgentExecution.objects.filter(run_id=run_id).first()
    return _GONE if run is None else _has_ended(run)


def _has_ended(run: AgentExecution) -> Outcome:
    return Outcome(False, f"It has ended already, as {run.get_status_display()}.")


_GONE: Final = Outcome(False, "There is no such run any more.")


def _cancel(run: AgentExecution | None) -> Outcome:
    if run is None:
        return _GONE
    if run.completed_at is not None:
        return _has_ended(run)
    if run.cancel_requested_at is not None:
        return Outcome(False, "It is to be cancelled already.")
    request_cancel(user_id=None, run_id=run.run_id, now=timezone.now())
    return Outcome(True, "It is to be cancelled.")


def _hand_over(run: AgentExecution | None) -> Outcome:
    if run is None:
        return _GONE
    if run.completed_at is not None:
        return _has_ended(run)
    if not run.owner:
        return Outcome(False, "No worker has it: it waits for one.")
    if run.cancel_requested_at is not None:
        return Outcome(False, "It is to be cancelled.")
    if not may_be_tried(run.attempt + 1 - run.handovers, AgentExecutionPhase(run.phase), restartable=run.restartable):
        return Outcome(False, _why_not_tried(run))
    let_go(run.pk)
    notice_leave(run.run_id)
    return Outcome(True, f"Taken from its worker {run.owner}: the next attempt starts in a few seconds.")


def _why_not_tried(run: AgentExecution) -> str:
    if not run.restartable:
        return "Its agent is not restartable: what it did might be done twice. End it, and retry it as a new run."
    if run.phase in {"result_processing", "completing"}:
        return "It is about to end."
    return f"It has had its {run.attempt - run.handovers} attempts."


class _AtOnce:
    """A journal that writes in the transaction of its caller."""

    def __init__(self) -> None:
        self.written: list[RunWrite] = []

    async def write(
        self,
        run: Run,
        before: RunState,
        after: RunState,
        *,
        frames: Sequence[Frame],
        transitions: Sequence[Transition],
        wait: bool,
    ) -> None:
        write = RunWrite(
            run=run,
            expected_seq=before.last_seq,
            expected_phase_count=before.phase_count,
            state=after,
            frames=list(frames),
            transitions=list(transitions),
        )
        if commit([write]):
            raise Fenced(f"run {run.pk} has another writer or has ended")
        self.written.append(write)

    def forget(self, run: Run) -> None:
        pass


def _through(work: Coroutine[Any, Any, None]) -> None:
    """Runs what waits for nothing, without an event loop and so in the thread's own transaction."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("what ends a run at once has waited for something")
