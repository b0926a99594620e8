"""Two web processes, two workers, PostgreSQL and Redis; and what befalls each of them while users look on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netra.testing.laws import require_lawful, require_legal_phases, require_record_is_log, require_view_is_log
from netra.testing.postgresql import PostgresqlServer
from netra.testing.proxy import Proxy
from netra.testing.redis import RedisServer
from netra.testing.server import RunningNetra, WebServer
from netra.testing.worker import RunningWorker
from tests.chaos.clients import LibraryClient, start_request
from tests.chaos.witness import Witness

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
log = logging.getLogger(__name__)

USERS = 8
STOPPED_SECONDS = 3.0
BLACK_HOLE_SECONDS = 10.0
TIMES = {"NETRA_LEASE_SECONDS": "4", "NETRA_LEASE_RENEW_SECONDS": "1", "NETRA_HEARTBEAT_SECONDS": "20"}
PATIENCE = {"NETRA_DEFAULT_TIER": "enterprise"}
"""Heartbeats are rare: what the layer loses has to be found without them."""


class Deployment:
    """All processes, and users with two tabs each, spread over both web processes."""

    def __init__(self, folder: Path, database_url: str, redis: RedisServer, stack: ExitStack) -> None:
        self.redis = redis
        self.to_redis = stack.enter_context(Proxy(redis.url))
        environment = TIMES | PATIENCE | {"DATABASE_URL": database_url, "REDIS_URL": self.to_redis.url}
        daphne: WebServer = "daphne"
        self.web = stack.enter_context(RunningNetra(folder, daphne, **environment))
        self.other_web = stack.enter_context(self.web.beside(folder / "other", "uvicorn"))
        self.workers = [stack.enter_context(RunningWorker(self.web)) for _ in range(2)]
        self.users = self.web.create_users(*(f"user{number}" for number in range(USERS)))
        self.witnesses: list[Witness] = []
        self.runs: dict[str, str] = {}
        self._begun = 0

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[list[list[LibraryClient]]]:
        async with AsyncExitStack() as stack:
            made = []
            for user in self.users:
                self.witnesses += [Witness(f"{user.name}/{place}", user.name) for place in ("daphne", "uvicorn")]
                pairs = zip((self.web, self.other_web), self.witnesses[-2:], strict=True)
                tabs = [LibraryClient(web.ws_url, user.token, witness) for web, witness in pairs]
                made.append([await stack.enter_async_context(tab) for tab in tabs])
            yield made

    async def start_runs(self, clients: list[list[LibraryClient]], seconds: float) -> None:
        """One run more for each user, which speaks ten times a second; every other one may be taken over."""
        for number, (user, tabs) in enumerate(zip(self.users, clients, strict=True)):
            self._begun += 1
            script = [{"think": "Hm."}, {"emit": round(10 * seconds), "rate": 10}, {"return": "done"}]
            params: dict[str, Any] = {"script": script, "restartable": number % 2 == 0}
            answer = await tabs[self._begun % 2].start(start_request(f"r{self._begun}", params))
            assert answer["type"] == "run_accepted", answer
            self.runs[answer["run_id"]] = user.name

    async def list_runs(self, clients: list[list[LibraryClient]]) -> None:
        """As a page does that comes back: nobody tells it of a run that began and ended while it was away."""
        for user, tabs in zip(self.users, clients, strict=True):
            for tab in tabs:
                runs = [run_id for run_id, owner in self.runs.items() if owner == user.name]
                await tab.follow([run_id for run_id in runs if run_id not in tab.witness.heard_of])

    async def wait_for_ends(self) -> None:
        """Until every tab of every user has taken agent_completed of every run."""
        try:
            async with asyncio.timeout(60):
                while any(self._lacking()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            told = [
                f"{tab.name}: {len(tab.taken[run])} of {self.other_web.run_row(run)}" for tab, run in self._lacking()
            ]
            raise AssertionError("\n".join(told)) from None

    def _lacking(self) -> Iterator[tuple[Witness, str]]:
        """Tabs, and runs of whose end they have not heard."""
        for run_id, user in self.runs.items():
            for witness in self.witnesses:
                ends = [event for event in witness.taken[run_id][-1:] if event["type"] == "agent_completed"]
                if witness.user == user and not ends:
                    yield witness, run_id

    def closes(self) -> int:
        return sum(sum(witness.closes.values()) for witness in self.witnesses)

    def events_taken(self) -> int:
        return sum(len(taken) for witness in self.witnesses for taken in witness.taken.values())


@pytest.fixture
def deployment(tmp_path: Path, postgresql_server: PostgresqlServer) -> Iterator[Deployment]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        yield Deployment(tmp_path, postgresql_server.create_database(), redis, stack)


async def test_every_client_has_every_event_whatever_befalls_the_machines(deployment: Deployment) -> None:
    async with deployment.clients() as clients:
        await deployment.start_runs(clients, 20.0)

        deployment.redis.kill()
        await the_log_brings_events(deployment, STOPPED_SECONDS)
        deployment.redis.start()
        deployment.to_redis.set_mode("black hole")
        await deployment.start_runs(clients, 10.0)
        await the_log_brings_events(deployment, BLACK_HOLE_SECONDS)
        deployment.to_redis.set_mode("pass")
        assert deployment.closes() == 0, "a socket was closed because of Redis"

        await deployment.start_runs(clients, 4.0)
        deployment.workers[0].kill()
        deployment.web.kill()
        killed_at = datetime.now(UTC)
        await asyncio.to_thread(deployment.web.run_server)
        await deployment.list_runs(clients)
        await deployment.wait_for_ends()
        await deployment.start_runs(clients, 0.5)
        await deployment.wait_for_ends()

    require_everything(deployment)
    fates = list(fates_of(deployment, killed_at))
    log.info("%d runs; of the dead worker's %d the fate was known after %s s", len(deployment.runs), len(fates), fates)
    assert fates


async def test_a_cancel_reaches_the_worker_at_once(deployment: Deployment) -> None:
    async with deployment.clients() as clients:
        await deployment.start_runs(clients, 600.0)
        for (run_id, _), tabs in zip(deployment.runs.items(), clients, strict=True):
            assert (await tabs[0].cancel(run_id))["type"] == "cancel_accepted"
        await deployment.wait_for_ends()

    assert {row["status"] for row in deployment.web.rows("SELECT status FROM agents_agentexecution")} == {"cancelled"}
    require_everything(deployment)


async def the_log_brings_events(deployment: Deployment, seconds: float) -> None:
    """Events go on coming while Redis is away, second after second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = deployment.events_taken()
        await asyncio.sleep(1.5)
        assert deployment.events_taken() > before


def fates_of(deployment: Deployment, killed_at: datetime) -> Iterator[float]:
    """Seconds until a run was taken over or ended as lost; there are no other ends but the agent's own."""
    for run_id in deployment.runs:
        for event in deployment.other_web.logged(run_id):
            status = event["data"].get("status")
            if event["type"] == "run_recovered" or status == "lost":
                yield (datetime.fromisoformat(event["timestamp"]) - killed_at).total_seconds()
            else:
                assert event["type"] != "agent_completed" or status == "completed", event


def require_everything(deployment: Deployment) -> None:
    web = deployment.other_web
    for run_id, user in deployment.runs.items():
        log = web.logged(run_id)
        require_lawful(log)
        require_legal_phases(web.transitions(run_id), log)
        require_record_is_log(web.run_row(run_id), log)
        for witness in deployment.witnesses:
            if witness.user == user:
                require_view_is_log(witness.taken[run_id], log)
            else:
                assert run_id not in witness.heard_of
