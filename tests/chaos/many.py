"""The same chaos with two web processes, two workers, PostgreSQL and Redis: each fault of the server hits one."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from netra.testing.postgresql import PostgresqlServer
from netra.testing.proxy import Proxy
from netra.testing.redis import RedisServer
from netra.testing.server import RunningNetra
from netra.testing.users import User
from netra.testing.worker import RunningWorker
from tests.chaos.conductor import Chaos, Outage, Record, environment_of
from tests.chaos.plan import Fault, Plan

VICTIMS: Final = ("worker", "worker", "web", "web", "redis", "database")
LIVE_AT: Final = """
SELECT e.run_id, e.last_seq FROM agents_agentexecution e JOIN agents_worker w ON w.owner = e.owner
WHERE e.completed_at IS NULL AND w.pid = ?
"""


def conduct(plan: Plan, folder: Path, say: Callable[[str], None]) -> Record:
    with ExitStack() as stack:
        machines = Machines(plan, folder, stack)
        users = machines.webs[0].create_users(*plan.users)
        return asyncio.run(_ChaosOfMany(plan, machines, users, say).conduct())


class Machines:
    def __init__(self, plan: Plan, folder: Path, stack: ExitStack) -> None:
        self.database = stack.enter_context(PostgresqlServer())
        self.redis = stack.enter_context(RedisServer())
        self.to_redis = stack.enter_context(Proxy(self.redis.url))
        urls = {"DATABASE_URL": self.database.create_database(), "REDIS_URL": self.to_redis.url}
        web = stack.enter_context(RunningNetra(folder, **environment_of(plan), **urls))
        self.webs = [web, stack.enter_context(web.beside(folder / "other", "uvicorn"))]
        self.workers = [stack.enter_context(RunningWorker(web)) for _ in range(2)]
        self.logs: list[str] = []
        """Of workers that are gone."""

    def worker_again(self, worker: RunningWorker) -> None:
        self.logs.append(worker.log.read_text(errors="replace"))
        worker.start()

    def log(self) -> str:
        files = [*(web.log for web in self.webs), *(worker.log for worker in self.workers)]
        return "\n".join([*self.logs, *(file.read_text(errors="replace") for file in files)])


class _ChaosOfMany(Chaos):
    def __init__(self, plan: Plan, machines: Machines, users: Sequence[User], say: Callable[[str], None]) -> None:
        self._machines = machines
        super().__init__(plan, machines.webs[0], users, say)

    def _address(self) -> str:
        return self._chance.choice(self._machines.webs).ws_url

    async def _break_server(self, fault: Fault) -> None:
        """What becomes of runs is seen by the last one: it kills a worker that has some."""
        is_last = fault is self._plan.faults[-1]
        victim = "worker" if is_last else self._chance.choice(VICTIMS)
        self._record.did[f"{victim} broken"] += 1
        match victim:
            case "worker":
                await self._break_worker(fault, await asyncio.to_thread(self._busiest))
            case "web":
                await self._break_web(fault, self._chance.choice(self._machines.webs))
            case "redis":
                await self._break_redis(fault)
            case _:
                outage = self._outage("database restarted")
                await asyncio.to_thread(self._machines.database.restart)
                self._is_over(outage)

    async def _break_worker(self, fault: Fault, worker: RunningWorker) -> None:
        if fault.kind == "freeze":
            await self._freeze_worker(fault, worker)
            return
        outage = self._outage(f"worker: {fault.kind}")
        if fault.kind == "kill":
            await asyncio.to_thread(worker.kill)
            outage.live = await asyncio.to_thread(self._live_at, worker)
        elif fault.kind == "terminate":
            await asyncio.to_thread(worker.stop)
        else:
            worker.send_signal(signal.SIGTERM)
            await asyncio.sleep(self._chance.uniform(0, 2))
            await asyncio.to_thread(worker.kill)
        self._is_over(outage)  # the other worker is there
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._machines.worker_again, worker)

    async def _freeze_worker(self, fault: Fault, worker: RunningWorker) -> None:
        outage = self._outage("worker: freeze")
        worker.pause()
        await asyncio.sleep(fault.seconds)
        worker.unpause()
        self._is_over(outage)

    async def _break_web(self, fault: Fault, web: RunningNetra) -> None:
        outage = self._outage(f"web process: {fault.kind}")
        if fault.kind == "freeze":
            web.signal(signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            web.signal(signal.SIGCONT)
        else:
            await asyncio.to_thread(web.kill if fault.kind == "kill" else web.stop)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(web.run_server)
        self._is_over(outage)

    async def _break_redis(self, fault: Fault) -> None:
        """No outage: nothing may be lost, and nobody is cut off."""
        begin = time.monotonic()
        if fault.kind == "freeze":
            self._machines.to_redis.set_mode("black hole")
            await asyncio.sleep(fault.seconds)
            self._machines.to_redis.set_mode("pass")
        else:
            await asyncio.to_thread(self._machines.redis.kill)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self._machines.redis.start)
        self._say(f"Redis: {fault.kind} for {time.monotonic() - begin:.1f} s")

    def _is_over(self, outage: Outage) -> None:
        outage.ready_at, outage.ready_at_utc = time.monotonic(), time.time()
        self._say(f"{outage.kind}: {len(outage.live)} runs live, {outage.ready_at - outage.at:.1f} s")

    def _busiest(self) -> RunningWorker:
        return max(self._machines.workers, key=lambda worker: len(self._live_at(worker)))

    def _live_at(self, worker: RunningWorker) -> dict[str, int]:
        return {row["run_id"]: row["last_seq"] for row in self._netra.rows(LIVE_AT, worker.pid)}

    def _read_log(self) -> None:
        super()._read_log()
        self._record.server_log = self._machines.log()
