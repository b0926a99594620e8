"""Child runs, as the run that waits for them sees them: each is any worker's, and its end is read from its record."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from agents.agreement import Agreement
from agents.children import ChildRecord, read_child, register_child
from agents.database import AWAY, in_database, patiently
from agents.desk import LOOK_SECONDS, Desk
from agents.errors import AgentError, ChildFailed, NetraError
from agents.registration import request_cancel, text_of
from agents.runs import Run, RunRequest


class Child(msgspec.Struct, frozen=True):
    """What another agent is to do. `timeout` in seconds; without one, what the tier and the parent's time allow."""

    agent: str
    message: str
    params: dict[str, Any] = {}
    timeout: float | None = None


class Team:
    """The children of one attempt at a run."""

    def __init__(self, *, run: Run, agreement: Agreement, desk: Desk) -> None:
        self._run = run
        self._agreement = agreement
        self._desk = desk
        self._asked: Counter[str] = Counter()
        self._leaves = False

    @property
    def agents(self) -> list[str]:
        return self._agreement.agents()

    def leave(self) -> None:
        """From now on children are not cancelled: the run's next attempt finds them again."""
        self._leaves = True

    async def run(self, child: Child) -> Any:
        """The child's output. Raises ChildFailed; cancelling the call cancels the child."""
        begun = asyncio.create_task(self._begin(child), name=f"{self._run.run_id} child")
        try:
            record = await asyncio.shield(begun)
            with self._desk.waiting():
                record = await self._end_of(record)
        except asyncio.CancelledError:
            await self._cancel(begun)
            raise
        if record.status != "completed":
            message = record.error_message or f"Its run is {record.status}."
            raise ChildFailed(child.agent, record.error_code or record.status, message, run_id=record.run_id)
        return record.output

    async def run_parallel(self, children: Sequence[Child], *, go_on: bool) -> list[Any]:
        """All at once; the first failure cancels the others and is raised, or with `go_on` stands in its place."""
        tasks: list[asyncio.Task[Any]] = []
        work = self._or_failure if go_on else self.run
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work(child)) for child in children]
        except* ChildFailed as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _or_failure(self, child: Child) -> Any:
        try:
            return await self.run(child)
        except ChildFailed as failure:
            return failure

    async def _begin(self, child: Child) -> ChildRecord:
        request = RunRequest(agent=child.agent, message=child.message, params=child.params, timeout=child.timeout)
        key = hashlib.sha256(text_of(request).encode()).hexdigest()[:32]
        self._asked[key] += 1
        try:
            record = await patiently(
                register_child,
                self._run,
                key=f"{key} {self._asked[key]}",
                request=request,
                terms=partial(self._agreement.with_parent, self._run, request),
            )
        except (AgentError, NetraError) as error:
            raise ChildFailed(child.agent, error.code, error.message) from error
        self._desk.runner.enqueue(record.run_id)
        return record

    async def _end_of(self, record: ChildRecord) -> ChildRecord:
        while not record.has_ended:
            bell = self._desk.bell()
            record = await patiently(read_child, record.pk)
            if not record.has_ended:
                await asyncio.wait({bell}, timeout=LOOK_SECONDS)
        return record

    async def _cancel(self, begun: asyncio.Task[ChildRecord]) -> None:
        """Even one that is just being registered, which cannot be stopped half-way."""
        if self._leaves:
            return
        with suppress(ChildFailed, *AWAY):  # it was never made; or it ends with its parent
            record = await begun
            await in_database(request_cancel, user_id=None, run_id=record.run_id, now=datetime.now(UTC))
            self._desk.runner.cancel(record.run_id)
