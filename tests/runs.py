"""Runs for tests: made, claimed and executed by the real parts on the test database. Only the sockets are left out."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.db import connection
from msgspec.structs import replace

from agents.agreement import Agreement, Quota
from agents.breaker import Breaker
from agents.context import AgentExecutionContext
from agents.core import AgentExecutionCore
from agents.database import in_database
from agents.desk import Desk, RemoteRunner
from agents.events import Frame
from agents.execution import Ending
from agents.journal import Journal
from agents.leases import Claim, claim_pending
from agents.models import AgentExecution, ExecutionEvent, PhaseTransition
from agents.phases import AgentExecutionPhase
from agents.registration import Registered, Terms, register
from agents.registry import AgentRegistry
from agents.runs import CommittedBatch, Outcome, Run, RunRequest, RunWrite
from agents.tiers import TIERS, Tier
from agents.tracker import AgentExecutionTracker
from notifications.notifier import WebSocketNotifier

Execute = Callable[[AgentExecutionContext], Any]

LEASE = timedelta(seconds=15)
_numbers = itertools.count(1)


class RecordingBridge:
    """Keeps the batches that are published; its notifiers are the real ones."""

    def __init__(self) -> None:
        self.batches: list[CommittedBatch] = []

    def create_notifier(self, tracker: AgentExecutionTracker, run: Run, *, steps_before: int) -> WebSocketNotifier:
        return WebSocketNotifier(tracker, run, steps_before=steps_before)

    def publish(self, batches: Sequence[CommittedBatch]) -> None:
        self.batches += batches

    def frames(self, run_id: str) -> list[dict[str, Any]]:
        """What was published of a run, in the order of publication."""
        return [json.loads(text) for batch in self.batches if batch.run_id == run_id for text in batch.texts]


def make_user(name: str = "") -> int:
    """A user's key."""
    return get_user_model().objects.create_user(name or f"user-{next(_numbers)}").pk


def make_terms(**changes: Any) -> Terms:
    agreed = Terms(tier="free", timeout=40.0, restartable=False, running_limit=20, live_limit=100)
    return msgspec.structs.replace(agreed, **changes)


def register_run(
    user_id: int,
    agent: str = "test",
    message: str = "Go.",
    *,
    request_id: str = "",
    terms: Terms | None = None,
    **request: Any,
) -> Registered:
    agreed = terms or make_terms()
    return register(
        user_id=user_id,
        request_id=request_id or f"request-{next(_numbers)}",
        request=RunRequest(agent=agent, message=message, **request),
        terms=lambda: agreed,
    )


def claim_runs(owner: str = "worker_1", *, slots: int = 100, per_user: int = 100) -> list[Claim]:
    return claim_pending(owner=owner, slots=slots, per_user=per_user, now=datetime.now(UTC), lease=LEASE)


def make_claim(user_id: int | None = None, **registration: Any) -> Claim:
    """A new run, registered and claimed."""
    registered = register_run(make_user() if user_id is None else user_id, **registration)
    return next(claim for claim in claim_runs() if claim.run.run_id == registered.run_id)


def end_of(claim: Claim) -> RunWrite:
    """What its worker would write to end it as lost, as its first event."""
    now = datetime.now(UTC)
    outcome = Outcome(at=now, result="{}", warnings=[])
    return RunWrite(
        run=claim.run,
        expected_seq=0,
        expected_phase_count=0,
        state=replace(claim.state, phase=AgentExecutionPhase.LOST, last_seq=1, outcome=outcome),
        frames=[Frame(seq=1, type="agent_completed", text="{}", at=now)],
        transitions=[],
    )


def read_run(run_id: str) -> AgentExecution:
    return AgentExecution.objects.get(run_id=run_id)


def read_log(run_id: str) -> list[dict[str, Any]]:
    """A run's frames, by seq."""
    events = ExecutionEvent.objects.filter(execution__run_id=run_id).order_by("seq")
    return [json.loads(frame) for frame in events.values_list("frame", flat=True)]


def read_seqs(run_id: str) -> list[int]:
    """In the order in which the rows were inserted."""
    events = ExecutionEvent.objects.filter(execution__run_id=run_id).order_by("pk")
    return list(events.values_list("seq", flat=True))


def read_transitions(run_id: str) -> list[PhaseTransition]:
    return list(PhaseTransition.objects.filter(execution__run_id=run_id).order_by("ordinal"))


class Workshop:
    """Registry, journal, tracker and core of one process, on the test database."""

    def __init__(self, tiers: Mapping[str, Tier] = TIERS, *, live: int = 100) -> None:
        self.bridge = RecordingBridge()
        self.registry = AgentRegistry()
        self.registry.set_websocket_manager(self.bridge)
        self.journal = Journal(publish=self.bridge.publish)
        self.tracker = AgentExecutionTracker(self.journal)
        agreement = Agreement(
            registry=self.registry,
            tiers=tiers,
            quota=Quota(running=20, live=live, default_tier="free"),
            breaker=Breaker(failures=0, window=60, cooldown=30),
        )
        self.core = AgentExecutionCore(
            registry=self.registry, tracker=self.tracker, bridge=self.bridge, agreement=agreement
        )

    def add_agent(self, execute: Execute, name: str = "test", **options: Any) -> None:
        """Registers an agent that does what the coroutine function does."""

        class Agent:
            async def execute(self, context: AgentExecutionContext) -> Any:
                return await execute(context)

        self.registry.register_agent_safely(name, Agent, **options)

    async def claim(self, user_id: int | None = None, **registration: Any) -> Claim:
        return await in_database(make_claim, user_id, **registration)

    async def execute(self, claim: Claim, stop: asyncio.Future[Ending | None] | None = None) -> list[dict[str, Any]]:
        """Runs a claim to its end and returns the run's log."""
        stop = stop or asyncio.get_running_loop().create_future()
        await asyncio.wait_for(self.core.execute(claim, stop, Desk(RemoteRunner())), 20)
        return await in_database(read_log, claim.run.run_id)

    async def run(self, execute: Execute, *, timeout: float = 40.0, **options: Any) -> list[dict[str, Any]]:
        """The log of one run of a new agent, from its registration to its end."""
        self.add_agent(execute, **options)
        return await self.execute(await self.claim(terms=make_terms(timeout=timeout)))

    async def tracked(self, **registration: Any) -> Claim:
        """A new run that the tracker follows, without an agent."""
        claim = await self.claim(**registration)
        self.tracker.start_execution(claim)
        return claim

    def notifier(self, claim: Claim) -> WebSocketNotifier:
        return self.bridge.create_notifier(self.tracker, claim.run, steps_before=0)

    async def in_journal(self, function: Callable[[], Any]) -> Any:
        """Calls it in the journal's thread, where its connection is."""
        return await asyncio.get_running_loop().run_in_executor(self.journal._thread, function)

    async def close(self) -> None:
        await asyncio.wait_for(self.journal.drain(), 20)
        await self.in_journal(lambda: connection.close())  # noqa: PLW0108 - the connection of that thread
        self.journal._thread.shutdown()


async def start_thinking(workshop: Workshop, claim: Claim) -> WebSocketNotifier:
    """Walks a tracked run to its first thought."""
    notifier = workshop.notifier(claim)
    await workshop.tracker.update_execution_state(claim.run.run_id, AgentExecutionPhase.WEBSOCKET_SETUP)
    await workshop.tracker.update_execution_state(claim.run.run_id, AgentExecutionPhase.CONTEXT_VALIDATION)
    await notifier.notify_agent_started(streaming=False)
    await notifier.notify_agent_thinking("Hm.")
    return notifier


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Lets others work until something holds; raises TimeoutError if it never does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def until_in_database(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not await in_database(condition):
            await asyncio.sleep(0.01)
