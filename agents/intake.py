"""Where requests come in: a start becomes a run and a cancel reaches it, whoever asks and by whichever door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.agreement import Agreement
from agents.answering import answer_approval
from agents.approvals import Answer
from agents.database import in_database
from agents.desk import Runner
from agents.errors import InvalidMessage
from agents.events import Decision
from agents.registration import CancelRequest, Registered, read_params, request_cancel
from agents.runs import RunRequest
from agents.tracker import AgentExecutionTracker


class Intake:
    def __init__(self, *, agreement: Agreement, tracker: AgentExecutionTracker, runner: Runner) -> None:
        self._agreement = agreement
        self._tracker = tracker
        self._runner = runner

    async def start(
        self,
        *,
        user_id: int,
        request_id: str,
        request: RunRequest,
        admit: Callable[[], None],
        params_of: str | None = None,
    ) -> Registered:
        """Makes a run and has it executed; the same request_id again gives the same run. Raises NetraError.

        `admit` is called for a request that would make a run, on another thread, and may refuse it. `params_of` names a
        run of the user's own whose params are those of this one.
        """
        if params_of is not None:
            if request.params:
                raise InvalidMessage("Give either params or params_of.", field="params_of")
            params = await in_database(read_params, user_id, params_of)
            request = msgspec.structs.replace(request, params=params)
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

    async def resolve_approval(
        self,
        *,
        user_id: int,
        run_id: str,
        approval_id: str,
        answer: Answer,
        arguments: dict[str, Any] | None = None,
        comment: str = "",
    ) -> Decision:
        """Hands a person's answer to the run that waits for it. Raises NotFound, ApprovalClosed or InvalidMessage."""
        decision = await in_database(
            answer_approval,
            self._agreement.registry,
            user_id=user_id,
            run_id=run_id,
            approval_id=approval_id,
            answer=answer,
            arguments=arguments,
            comment=comment,
        )
        self._runner.ring(run_id)
        return decision

    async def cancel(self, *, user_id: int | None, run_id: str) -> CancelRequest:
        """Has a run cancelled, wherever it is; harmless when it has ended. Raises NotFound."""
        request = await in_database(request_cancel, user_id=user_id, run_id=run_id, now=datetime.now(UTC))
        self._runner.cancel(run_id)
        return request
