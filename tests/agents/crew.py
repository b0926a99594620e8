"""Runners of one workshop that execute whatever waits, for tests of runs that wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents.context import AgentExecutionContext
from agents.database import in_database
from agents.models import AgentExecution
from agents.runner import AgentRunner, Limits
from tests.runs import Workshop, make_user, read_log, read_run, register_run, until_in_database

LIMITS: dict[str, Any] = {"total": 100, "per_user": 20, "lease": 15.0, "renew": 0.05, "poll": 0.05}


class Crew:
    def __init__(self, workshop: Workshop, ada: int) -> None:
        self.workshop = workshop
        self.ada = ada
        self.runners: list[AgentRunner] = []
        self.gate = asyncio.Event()
        self.hanging: list[str] = []
        """Runs of an agent that waits for the gate."""

    async def hang(self, context: AgentExecutionContext) -> int:
        self.hanging.append(context.run_id)
        await self.gate.wait()
        return context.attempt

    def start(self, **limits: Any) -> AgentRunner:
        runner = AgentRunner(core=self.workshop.core, limits=Limits(**{**LIMITS, **limits}))
        runner.start()
        self.runners.append(runner)
        return runner

    async def register(self, agent: str = "parent", **registration: Any) -> str:
        registered = await in_database(register_run, self.ada, agent, **registration)
        return registered.run_id

    async def run(self, agent: str = "parent", **registration: Any) -> list[dict[str, Any]]:
        """The log of one run, from its registration to its end."""
        return await self.log_of(await self.register(agent, **registration))

    async def log_of(self, run_id: str) -> list[dict[str, Any]]:
        """Once the run has ended."""
        await self.ended(run_id)
        return await in_database(read_log, run_id)

    async def ended(self, *run_ids: str) -> list[str]:
        """Waits for the end of runs; returns their statuses."""
        await until_in_database(lambda: not AgentExecution.objects.live().filter(run_id__in=run_ids).exists(), 20)
        return [(await in_database(read_run, run_id)).status for run_id in run_ids]

    async def children_of(self, run_id: str) -> list[AgentExecution]:
        return await in_database(lambda: list(AgentExecution.objects.filter(parent__run_id=run_id).order_by("pk")))

    async def stop(self) -> None:
        while self.runners:
            await asyncio.wait_for(self.runners.pop().stop(0.0), 10)


@asynccontextmanager
async def crew_of(workshop: Workshop, name: str = "ada") -> AsyncIterator[Crew]:
    crew = Crew(workshop, await in_database(make_user, name))
    yield crew
    await crew.stop()
