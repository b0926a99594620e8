"""One attempt at one run: the agent works within its time, and whatever it does, one agent_completed ends it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from django.contrib.auth import get_user_model

from agents.asking import Asking
from agents.bounds import to_json_value
from agents.bridge import RunNotifier
from agents.context import AgentExecutionContext
from agents.database import AWAY, in_database, patiently
from agents.desk import Desk
from agents.errors import AgentError, ChildFailed, Fenced, NetraError
from agents.events import Problem
from agents.leases import Claim, read_deadline
from agents.ledger import Ledger
from agents.model_answers import ModelAnswers
from agents.phases import AgentExecutionPhase
from agents.progress import Progress
from agents.registry import AgentRegistry, AgentSpec, UserAgentSession
from agents.team import Team
from agents.tiers import Tier
from agents.tracker import AgentExecutionTracker

_P = AgentExecutionPhase

UNWIND_SECONDS: Final = 1.0
"""How long an agent that was told to stop may take to unwind before the run ends without it."""

DATABASE_SECONDS: Final = 2.0
"""How long a run whose time is over waits to hear from the database that it is not."""

log = structlog.get_logger(__name__)


class Ending(msgspec.Struct, frozen=True):
    """How a run is to end."""

    phase: AgentExecutionPhase
    output: Any = None
    error: Problem | None = None


CANCELLED: Final = Ending(_P.CANCELLED, error=Problem("cancelled", "The run was cancelled."))
LOST: Final = Ending(_P.LOST, error=Problem("lost", "The worker that ran this went away. Please start it again."))
_RECOVERED: Final = "The worker that ran this went away; another one took over."
_UNKNOWN: Final = Problem("unknown", "The worker went away during this call; whether it was done is not known.")


class Execution:
    """One attempt at one run."""

    def __init__(
        self,
        *,
        claim: Claim,
        progress: Progress | None,
        registry: AgentRegistry,
        tracker: AgentExecutionTracker,
        notifier: RunNotifier,
        tier: Tier,
        team: Team,
        asking: Asking,
        desk: Desk,
        answers: ModelAnswers,
    ) -> None:
        self._claim = claim
        self._deadline_at = claim.deadline_at
        self._run = claim.run
        self._registry = registry
        self._tracker = tracker
        self._notifier = notifier
        self._tier = tier
        self._team = team
        self._asking = asking
        self._desk = desk
        self._answers = answers
        self._progress = progress
        self._spec: AgentSpec | None = None
        self._context: AgentExecutionContext | None = None
        self._session: UserAgentSession | None = None
        self._agent: asyncio.Task[Ending] | None = None
        self._stopping = False

    async def supervise(self, stop: asyncio.Future[Ending | None]) -> Ending | None:
        """Lets the agent work until it is done, told to stop, or out of time; None: leave the run to others."""
        if stop.done():
            return stop.result()
        if self._time_left() <= 0 and not await self._has_more_time():
            return self._out_of_time()
        self._agent = asyncio.create_task(self._work(), name=self._run.run_id)
        while not self._agent.done() and not stop.done():
            left = self._time_left()
            if left <= 0 and not await self._has_more_time():
                break
            either: set[asyncio.Future[Any]] = {self._agent, stop}
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if self._agent.done():
            return self._agent.result()
        ending = stop.result() if stop.done() else self._out_of_time()
        if ending is None:
            self._team.leave()
            self._asking.leave()
        await self._stop_agent()
        return ending

    async def finish(self, ending: Ending) -> None:
        """The one path to agent_completed."""
        if ending.phase is _P.COMPLETED:
            ending = await self._process_result(ending)
        produced = self._produced()
        await self._notifier.notify_agent_completed(
            ending.phase,
            output=ending.output if ending.output is not None else produced,
            error=ending.error,
            warnings=self._context.warnings if self._context else [],
            streaming=self._spec.streaming if self._spec else False,
            usage=self._context.usage if self._context else None,
        )

    def close(self) -> None:
        self._notifier.close()
        if self._context is not None:
            self._context.close()
        if self._agent is not None and not self._agent.done():
            self._agent.cancel()

    async def _work(self) -> Ending:
        """Runs the agent; whatever it raises becomes an Ending, Fenced excepted."""
        try:
            await self._walk_to_thinking()
            assert self._context is not None
            output = await self._context.agent.execute(self._context)  # type: ignore[attr-defined]
            return Ending(_P.COMPLETED, output)
        except Fenced:
            raise
        except ChildFailed as error:
            return Ending(_P.FAILED, error=Problem("child_failed", f"{error.agent} failed: {error.message}"))
        except (AgentError, NetraError) as error:
            return Ending(_P.FAILED, error=Problem(error.code, error.message))
        except asyncio.CancelledError:
            if self._stopping:
                raise
            return Ending(_P.FAILED, error=Problem("cancelled_itself", "The agent gave up without an answer."))
        except BaseException:  # whatever an agent raises ends its own run and nothing else
            log.exception("agent failed", run_id=self._run.run_id, agent=self._run.agent_name)
            return Ending(_P.FAILED, error=Problem("internal", "The agent failed with an error of its own."))

    async def _walk_to_thinking(self) -> None:
        run, tracker = self._run, self._tracker
        spec = self._spec = self._registry.get_agent(run.agent_name)
        if self._claim.state.phase is _P.CREATED:
            await tracker.update_execution_state(run.run_id, _P.WEBSOCKET_SETUP)
        self._session = self._registry.get_user_session(run.user_id)
        if tracker.get_state(run.run_id).phase is _P.WEBSOCKET_SETUP:
            await tracker.update_execution_state(run.run_id, _P.CONTEXT_VALIDATION)
        await patiently(_require_active_user, run.user_id)
        self._context = AgentExecutionContext(
            run=run,
            agent=spec.agent_class(),
            tools=spec.tools,
            dispatcher=self._session.tool_dispatcher,
            notifier=self._notifier,
            tool_timeout=self._tier.tool,
            team=self._team,
            asking=self._asking,
            ledger=Ledger(self._progress.calls if self._progress else ()),
            model_answers=self._answers,
        )
        if tracker.get_state(run.run_id).phase is _P.CONTEXT_VALIDATION:
            await self._notifier.notify_agent_started(streaming=spec.streaming)
        if self._progress is not None:
            await self._tell_of_recovery(self._progress)
        await self._notifier.notify_agent_thinking(f"{run.agent_name} is looking at your message.")

    async def _tell_of_recovery(self, progress: Progress) -> None:
        await self._notifier.notify_run_recovered(_RECOVERED)
        for tool_call_id in progress.open_tool_calls:
            await self._notifier.notify_tool_completed(tool_call_id, status="error", error=_UNKNOWN)

    async def _process_result(self, ending: Ending) -> Ending:
        try:
            output = to_json_value(ending.output)
        except TypeError as error:
            log.error(
                "agent returned no JSON",
                run_id=self._run.run_id,
                agent=self._run.agent_name,
                error=str(error),
            )
            return Ending(_P.FAILED, error=Problem("invalid_result", "The agent's answer is not JSON."))
        await self._tracker.update_execution_state(self._run.run_id, _P.COMPLETING, via=_P.RESULT_PROCESSING)
        return Ending(_P.COMPLETED, output)

    def _produced(self) -> str | None:
        """The text that the user has seen of the answer so far."""
        earlier = self._progress.produced if self._progress else ""
        return "".join(self._context.produced if self._context else ()) or earlier or None

    def _time_left(self) -> float:
        """Seconds until the run's deadline or until it counts as stuck, whichever is first."""
        now = datetime.now(UTC)
        moved_at = self._desk.last_waited(self._tracker.get_state(self._run.run_id).last_progress_at)
        silence = (now - moved_at).total_seconds()
        return min((self._deadline_at - now).total_seconds(), self._tier.no_progress - silence)

    async def _has_more_time(self) -> bool:
        """Whether the deadline was put off, because the run or one below it waited for a person."""
        if self._deadline_at > datetime.now(UTC):
            return False
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                deadline_at = await in_database(read_deadline, self._run.pk)
        except (TimeoutError, *AWAY):
            return False
        is_later = deadline_at is not None and deadline_at > self._deadline_at
        self._deadline_at = deadline_at or self._deadline_at
        return is_later

    def _out_of_time(self) -> Ending:
        if self._deadline_at <= datetime.now(UTC):
            message = f"The run was not done within its {self._run.timeout:g} s."
            return Ending(_P.TIMED_OUT, error=Problem("timed_out", message))
        message = f"The run did nothing for {self._tier.no_progress:g} s."
        return Ending(_P.TIMED_OUT, error=Problem("no_progress", message))

    async def _stop_agent(self) -> None:
        """Cancels the agent; one that does not unwind in time is left behind and can write no more."""
        assert self._agent is not None
        self._stopping = True
        if self._context is not None:
            self._context.cancelled = True
        self._agent.cancel()
        await asyncio.wait({self._agent}, timeout=UNWIND_SECONDS)
        if not self._agent.done():
            log.error("agent does not stop", run_id=self._run.run_id, agent=self._run.agent_name)


def _require_active_user(user_id: int) -> None:
    if not get_user_model().objects.filter(pk=user_id, is_active=True).exists():
        raise AgentError("user_inactive", "Your account is not active any more.")
