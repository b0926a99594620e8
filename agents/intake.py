"""Where requests come in: a start becomes a run and a cancel reaches it, whoever asks and by whichever door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from agents.agreement import Agreement
from agents.database import in_database
from agents.desk import Runner
from agents.registration import CancelRequest, Registered, request_cancel
from agents.runs import RunRequest
from agents.tracker import AgentExecutionTracker


class Intake:
    def __init__(self, *, agreement: Agreement, tracker: AgentExecutionTracker, runner: Runner) -> None:
        self._agreement = agreement
        self._tracker = tracker
        self._runner = runner

    async def start(
        self, *, user_id: int, request_id: str, request: RunRequest, admit: Callable[[], None]
    ) -> Registered:
        """Makes a run and has it executed; the same request_id again gives the same run. Raises NetraError.

        `admit` is called for a request that would make a run, on another thread, and may refuse it.
        """
        registered = await self._tracker.register_execution(
            user_id=user_id,
            request_id=request_id,
            request=request,
            terms=lambda: self._agreement.with_user(user_id, request, admit),
        )
        for run_id in registered.interrupts:
            self._runner.cancel(run_id)
        self._runner.enqueue(registered.run_id)
        return registered

    async def cancel(self, *, user_id: int | None, run_id: str) -> CancelRequest:
        """Has a run cancelled, wherever it is; harmless when it has ended. Raises NotFound."""
        request = await in_database(request_cancel, user_id=user_id, run_id=run_id, now=datetime.now(UTC))
        self._runner.cancel(run_id)
        return request
