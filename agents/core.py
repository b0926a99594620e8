"""Runs one agent for one user, from its claim to its one agent_completed."""

from __future__ import annotations

import asyncio

import structlog

from agents.agreement import Agreement
from agents.asking import Asking
from agents.bridge import AgentWebSocketBridge
from agents.database import patiently
from agents.desk import Desk
from agents.errors import Fenced, UnknownExecution
from agents.execution import Ending, Execution
from agents.leases import Claim
from agents.model_answers import ModelAnswers, read_answers
from agents.progress import Progress, read_progress
from agents.registry import AgentRegistry
from agents.team import Team
from agents.tracker import AgentExecutionTracker

log = structlog.get_logger(__name__)


class AgentExecutionCore:
    def __init__(
        self,
        *,
        registry: AgentRegistry,
        tracker: AgentExecutionTracker,
        bridge: AgentWebSocketBridge,
        agreement: Agreement,
    ) -> None:
        self._registry = registry
        self._tracker = tracker
        self._bridge = bridge
        self._agreement = agreement

    async def execute(self, claim: Claim, stop: asyncio.Future[Ending | None], desk: Desk) -> None:
        """Runs a claimed run to its end and returns when that is in the log.

        `stop` ends it early: with an Ending, or with None to leave the run for another worker. If the run turns out
        to be another worker's, nothing more is written and nothing is raised.
        """
        may_be_others = claim.restartable and claim.run.attempt > 1
        earlier = await patiently(read_answers, claim.run.pk) if may_be_others else {}
        answers = ModelAnswers(claim.run, earlier, keeps=claim.restartable)
        progress = await patiently(read_progress, claim.run.pk) if claim.state.last_seq else None
        execution = self._begin(claim, progress, answers, desk)
        try:
            ending = await execution.supervise(stop)
            if ending is not None:
                await execution.finish(ending)
                await answers.forget()
        except (Fenced, UnknownExecution):
            log.warning("run has another writer", run_id=claim.run.run_id, attempt=claim.run.attempt)
        finally:
            execution.close()
            self._tracker.stop_tracking(claim.run.run_id)

    async def end(self, claim: Claim, progress: Progress, ending: Ending, desk: Desk) -> None:
        """Ends a claimed run without working for it. Awaits nothing but what writes. Raises Fenced."""
        execution = self._begin(claim, progress, ModelAnswers(claim.run, {}, keeps=False), desk)
        try:
            await execution.finish(ending)
        finally:
            execution.close()
            self._tracker.stop_tracking(claim.run.run_id)

    def _begin(self, claim: Claim, progress: Progress | None, answers: ModelAnswers, desk: Desk) -> Execution:
        self._tracker.start_execution(
            claim,
            open_calls=progress.open_tool_calls if progress else None,
            open_approvals=progress.open_approvals if progress else (),
        )
        tier = self._agreement.tier_named(claim.run.tier)
        return Execution(
            claim=claim,
            progress=progress,
            registry=self._registry,
            tracker=self._tracker,
            notifier=self._bridge.create_notifier(
                self._tracker, claim.run, steps_before=progress.steps if progress else 0
            ),
            tier=tier,
            team=Team(run=claim.run, agreement=self._agreement, desk=desk),
            asking=Asking(
                run=claim.run,
                desk=desk,
                longest=tier.approval,
                told=progress.open_approvals if progress else frozenset(),
            ),
            desk=desk,
            answers=answers,
        )
