"""Carries out a plan: starts runs, breaks things, waits until all has come to its end, and keeps the record."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from netra.testing.server import RunningNetra
from netra.testing.users import User
from tests.chaos.clients import Client, LibraryClient, PlainClient, start_request
from tests.chaos.plan import Fault, Job, Plan
from tests.chaos.witness import Frame, Witness

LOOK_AGAIN: Final = 0.2
SERVER_FAULTS: Final = frozenset({"kill", "terminate", "give up", "freeze"})


class Outage(msgspec.Struct, eq=False, kw_only=True):
    """A time without the server; `live`: the last seq of each run that it was executing when it died."""

    kind: str
    at: float
    at_utc: float
    ready_at: float = float("inf")
    ready_at_utc: float = float("inf")
    live: dict[str, int] = {}


class Record(msgspec.Struct, eq=False, kw_only=True):
    plan: Plan
    user_ids: dict[str, str]
    witnesses: list[Witness]
    outages: list[Outage] = []
    did: Counter[str] = msgspec.field(default_factory=Counter)
    answers: dict[str, list[Frame]] = msgspec.field(default_factory=lambda: defaultdict(list))
    problems: list[str] = []
    unheard: list[tuple[Witness, str]] = []
    """Runs that a client had not heard of before it was told their ids."""
    runs: list[dict[str, Any]] = []
    logs: dict[str, list[Frame]] = {}
    transitions: dict[str, list[dict[str, Any]]] = {}
    server_log: str = ""


def conduct(plan: Plan, folder: Path, say: Callable[[str], None]) -> Record:
    with RunningNetra(folder, **environment_of(plan)) as netra:
        return asyncio.run(Chaos(plan, netra, netra.create_users(*plan.users), say).conduct())


def environment_of(plan: Plan) -> dict[str, str]:
    lease = plan.size.lease
    return {
        "NETRA_LEASE_SECONDS": str(lease),
        "NETRA_LEASE_RENEW_SECONDS": str(round(lease / 3, 3)),
        "NETRA_HEARTBEAT_SECONDS": "2.0" if lease < 5 else "5.0",
        "NETRA_STOP_GRACE_SECONDS": "1.5",
        "NETRA_MESSAGES_PER_MINUTE": "100000",
    }


class Chaos:
    """With one server; tests.chaos.many has several processes."""

    def __init__(self, plan: Plan, netra: RunningNetra, users: Sequence[User], say: Callable[[str], None]) -> None:
        self._plan = plan
        self._netra = netra
        self._say = say
        self._chance = random.Random(plan.seed + 1)
        self._clients: dict[str, list[Client]] = {user.name: self._clients_of(user) for user in users}
        witnesses = [client.witness for clients in self._clients.values() for client in clients]
        user_ids = {user.name: user.id for user in users}
        self._record = Record(plan=plan, user_ids=user_ids, witnesses=witnesses)
        self._begin = 0.0

    def _clients_of(self, user: User) -> list[Client]:
        kinds = self._chance.choice(["library", "plain", "library plain", "plain plain", "library library"]).split()
        return [
            self._client(kind, Witness(f"{user.name}/{kind}{n}", user.name), user.token) for n, kind in enumerate(kinds)
        ]

    def _client(self, kind: str, witness: Witness, token: str) -> Client:
        if kind == "library":
            return LibraryClient(self._address(), token, witness)
        return PlainClient(self._address(), token, witness, random.Random(self._chance.random()))

    def _address(self) -> str:
        return self._netra.ws_url

    async def conduct(self) -> Record:
        async with AsyncExitStack() as stack:
            for client in self._all_clients():
                await stack.enter_async_context(client)
            self._begin = time.monotonic()
            try:
                async with asyncio.timeout(self._plan.size.seconds + self._plan.size.settle):
                    async with asyncio.TaskGroup() as group:
                        server = [fault for fault in self._plan.faults if fault.kind in SERVER_FAULTS]
                        group.create_task(self._break(server))
                        group.create_task(self._break([fault for fault in self._plan.faults if fault not in server]))
                        for user in self._plan.users:
                            group.create_task(self._use(user, group))
                    self._say("the faults are over")
                    await self._settle()
            except TimeoutError:
                self._record.problems.append(f"not all came to its end: {await self._what_is_missing()}")
            await asyncio.to_thread(self._read_log)
        return self._record

    def _all_clients(self) -> list[Client]:
        return [client for clients in self._clients.values() for client in clients]

    async def _until(self, at: float) -> None:
        await asyncio.sleep(self._begin + at - time.monotonic())

    # ─ what users do

    async def _use(self, user: str, group: asyncio.TaskGroup) -> None:
        thread_id: str | None = None
        for job in (job for job in self._plan.jobs if job.user == user):
            await self._until(job.at)
            accepted = await self._start(job, thread_id if job.on_busy else None)
            if accepted["type"] != "run_accepted":
                self._record.problems.append(f"{job.request_id} was answered by {accepted}")
                continue
            thread_id = accepted["thread_id"]
            if job.cancel_after is not None:
                group.create_task(self._cancel(user, accepted["run_id"], job.cancel_after))

    async def _start(self, job: Job, thread_id: str | None) -> Frame:
        request = start_request(
            job.request_id,
            job.params,
            timeout=job.timeout,
            thread_id=thread_id,
            on_busy=job.on_busy if thread_id else None,
        )
        clients = [self._chance.choice(self._clients[job.user]) for _ in range(2 if job.ask_twice else 1)]
        self._record.did["starts"] += len(clients)
        answers = await asyncio.gather(*(self._ask(client, request) for client in clients))
        self._record.answers[job.request_id] += answers
        return answers[0]

    async def _ask(self, client: Client, request: Frame) -> Frame:
        while (answer := await client.start(request)).get("code") == "not_ready":
            self._record.did["starts put off by the server"] += 1
            await asyncio.sleep(answer.get("retry_after") or 1)
        return answer

    async def _cancel(self, user: str, run_id: str, after: float) -> None:
        await asyncio.sleep(after)
        self._record.did["cancels"] += 1
        while (await self._chance.choice(self._clients[user]).cancel(run_id)).get("code") == "not_ready":
            await asyncio.sleep(1)

    # ─ what breaks

    async def _break(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            await self._until(fault.at)
            if fault is self._plan.faults[-1]:
                await self._wait_for_work()
            elif time.monotonic() > self._begin + self._plan.size.seconds + self._plan.size.settle / 3:
                self._record.did["faults left out, the machine is slow"] += 1
                continue
            self._record.did[fault.kind] += 1
            if fault.kind in SERVER_FAULTS:
                await self._break_server(fault)
            else:
                self._drop(fault)

    async def _break_server(self, fault: Fault) -> None:
        await (self._freeze(fault) if fault.kind == "freeze" else self._replace(fault))

    async def _wait_for_work(self) -> None:
        """The plan has a run for the last kill; a slow machine may be late with it."""
        while not await asyncio.to_thread(self._live):
            await asyncio.sleep(LOOK_AGAIN)

    async def _replace(self, fault: Fault) -> None:
        outage = self._outage(fault.kind)
        self._netra.signal(signal.SIGKILL if fault.kind == "kill" else signal.SIGTERM)
        if fault.kind == "give up":
            await asyncio.sleep(self._chance.uniform(0, 2))
            self._netra.signal(signal.SIGKILL)
        code = await asyncio.to_thread(self._netra.wait)
        if fault.kind == "terminate":
            if code != 0:
                self._record.problems.append(f"the server ended with {code} after SIGTERM")
            self._say(f"SIGTERM: gone after {time.monotonic() - outage.at:.1f} s")
        outage.live = await asyncio.to_thread(self._live)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._netra.run_server)
        outage.ready_at, outage.ready_at_utc = time.monotonic(), time.time()
        self._say(f"{fault.kind}: {len(outage.live)} runs live, back after {outage.ready_at - outage.at:.1f} s")

    async def _freeze(self, fault: Fault) -> None:
        outage = self._outage(fault.kind)
        self._netra.signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        self._netra.signal(signal.SIGCONT)
        outage.ready_at, outage.ready_at_utc = time.monotonic(), time.time()
        self._say(f"SIGSTOP for {fault.seconds:.1f} s")

    def _outage(self, kind: str) -> Outage:
        outage = Outage(kind=kind, at=time.monotonic(), at_utc=time.time())
        self._record.outages.append(outage)
        return outage

    def _drop(self, fault: Fault) -> None:
        for client in self._all_clients():
            if self._chance.random() < fault.share:
                self._record.did["connections cut"] += 1
                client.drop(fault.seconds if fault.kind == "away" else 0.0)

    def _live(self) -> dict[str, int]:
        query = "SELECT run_id, last_seq FROM agents_agentexecution WHERE completed_at IS NULL AND owner != ''"
        return {row["run_id"]: row["last_seq"] for row in self._netra.rows(query)}

    # ─ the end

    async def _settle(self) -> None:
        """Every run ends; every client gets what it has heard of; then also what it could not have heard of."""
        while await asyncio.to_thread(self._netra.rows, LIVE):
            await asyncio.sleep(LOOK_AGAIN)
        self._say("all runs have ended")
        await self._look_until(lambda client: client.witness.has_all_of(client.witness.heard_of))
        of_user = await asyncio.to_thread(self._runs_of_users)
        for client in self._all_clients():
            unheard = [run_id for run_id in of_user[client.witness.user] if run_id not in client.witness.heard_of]
            self._record.unheard += [(client.witness, run_id) for run_id in unheard]
            await client.follow(unheard)
        await self._look_until(lambda client: client.witness.has_all_of(of_user[client.witness.user]))

    async def _look_until(self, holds: Callable[[Client], bool]) -> None:
        while not all(map(holds, self._all_clients())):
            await asyncio.sleep(LOOK_AGAIN)

    async def _what_is_missing(self) -> str:
        live = [row["run_id"] for row in await asyncio.to_thread(self._netra.rows, LIVE)]
        behind = {
            client.witness.name: [run for run in client.witness.heard_of if not client.witness.has_all_of([run])]
            for client in self._all_clients()
        }
        return f"runs live: {live}; clients behind: { {name: runs for name, runs in behind.items() if runs} }"

    def _runs_of_users(self) -> dict[str, list[str]]:
        of_user: dict[str, list[str]] = defaultdict(list)
        for row in self._netra.rows(RUNS):
            of_user[row["username"]].append(row["run_id"])
        return of_user

    def _read_log(self) -> None:
        record = self._record
        record.runs = self._netra.rows(RUNS)
        record.logs = {row["run_id"]: self._netra.logged(row["run_id"]) for row in record.runs}
        record.transitions = {row["run_id"]: self._netra.transitions(row["run_id"]) for row in record.runs}
        record.server_log = self._netra.log.read_text(errors="replace")


LIVE: Final = "SELECT run_id FROM agents_agentexecution WHERE completed_at IS NULL"
RUNS: Final = "SELECT e.*, u.username FROM agents_agentexecution e JOIN auth_user u ON u.id = e.user_id ORDER BY e.id"
