"""The runner: an asyncio task per run, in the process that serves the sockets or in a worker of its own.

It takes pending runs and those of dead workers, holds their leases while they go on, and stops gracefully.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec
import structlog
from django.db import ProgrammingError

from agents import metrics
from agents.core import AgentExecutionCore
from agents.database import AWAY, OwnThread
from agents.desk import Desk
from agents.execution import CANCELLED, LOST, Ending
from agents.ids import Prefix, new_id
from agents.leases import Claim, claim_pending, claim_stalled, release, renew
from agents.telling import begin_to_hear, hear_no_more
from agents.watchdog import ending_of_stalled
from agents.workers import forget_worker, note_worker

R = TypeVar("R")

log = structlog.get_logger(__name__)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of runs executed at once here, in all and per user everywhere; times in seconds.

    `poll` is how often the database is asked for waiting runs of which nobody has told.
    """

    total: int
    per_user: int
    lease: float
    renew: float
    poll: float


class _Slot(msgspec.Struct, eq=False):
    claim: Claim
    desk: Desk
    stop: asyncio.Future[Ending | None]
    task: asyncio.Task[None] | None = None


class AgentRunner:
    def __init__(self, *, core: AgentExecutionCore, limits: Limits) -> None:
        self.owner = new_id(Prefix.WORKER)
        self._core = core
        self._limits = limits
        # One after the other: what is claimed while the runner stops is let go after that, never before. Renewals wait
        # for no claim, which other people's locks may hold up.
        self._claims = OwnThread("claims")
        self._leases = OwnThread("leases")
        self._slots: dict[int, _Slot] = {}
        self._wake = asyncio.Event()
        self._duties: list[asyncio.Task[None]] = []
        self._accepting = True

    def enqueue(self, run_id: str) -> None:
        self._wake.set()

    def cancel(self, run_id: str) -> None:
        for slot in self._slots.values():
            if slot.claim.run.run_id == run_id:
                _tell(slot, CANCELLED)
        self._wake.set()

    def leave(self, run_id: str) -> None:
        """Stops what is not ours any more, before the next renewal would find it out."""
        for slot in self._slots.values():
            if slot.claim.run.run_id == run_id:
                _tell(slot, None)

    def ring(self, run_id: str) -> None:
        for slot in self._slots.values():
            if slot.claim.run.run_id == run_id:
                slot.desk.ring()

    @property
    def is_alive(self) -> bool:
        """Whether runs are taken and leases renewed."""
        return bool(self._duties) and not any(duty.done() for duty in self._duties)

    def start(self) -> None:
        """Begins to take runs; to be called in the event loop that executes them."""
        begin_to_hear(self, asyncio.get_running_loop())
        self._duties = [
            asyncio.create_task(self._take_runs(), name="runner"),
            asyncio.create_task(self._take_stalled_runs(), name="takeovers"),
            asyncio.create_task(self._hold_leases(), name="leases"),
        ]

    async def stop(self, grace: float) -> None:
        """Takes no more runs, gives those under way `grace` seconds, then ends them or leaves them to others.

        Those that only wait are left to others at once, if they can be: nothing here will move them.
        """
        self._accepting = False
        self._wake.set()
        tasks = [slot.task for slot in self._slots.values() if slot.task is not None]
        if tasks:
            log.info("runner stopping", runs=len(tasks), grace_s=grace)
            await self._drain(grace)
        for slot in list(self._slots.values()):
            _tell(slot, None if slot.claim.restartable else LOST)
        if left := [task for task in tasks if not task.done()]:
            await asyncio.wait(left, timeout=max(grace, 2.0))
        hear_no_more(self)
        for duty in self._duties:
            duty.cancel()
        await asyncio.gather(*self._duties, return_exceptions=True)
        try:
            async with asyncio.timeout(2.0):
                await self._claims.call(release, owner=self.owner)
                await self._leases.call(forget_worker, owner=self.owner)
        finally:
            self._claims.close()
            self._leases.close()

    async def _drain(self, grace: float) -> None:
        """Returns when all runs have ended or were left to others, or after `grace` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self._slots and (left := end - loop.time()) > 0:
            self._wake.clear()
            all_wait = all(slot.desk.is_waiting for slot in self._slots.values())
            for slot in self._slots.values():
                if slot.claim.restartable and (all_wait or slot.desk.waits_for_person):
                    _tell(slot, None)
            await _wait(self._wake, left)

    async def _take_runs(self) -> None:
        while self._accepting:
            self._wake.clear()
            claims = await self._ask_database(self._claim)
            await self._begin_all(claims or [], lambda claim: CANCELLED if claim.cancel_requested else None)
            if not claims or not self._free_places:
                await _wait(self._wake, self._limits.poll)

    async def _take_stalled_runs(self) -> None:
        while self._accepting:
            await self._begin_all(await self._ask_database(self._claim_stalled) or [], ending_of_stalled)
            await asyncio.sleep(self._limits.renew)

    async def _begin_all(self, claims: Sequence[Claim], ending_of: Callable[[Claim], Ending | None]) -> None:
        if self._accepting:
            for claim in claims:
                self._begin(claim, ending_of(claim))
        elif claims:  # the runner was told to stop while the database was asked
            await self._ask_database(partial(self._release, [claim.run.pk for claim in claims]))

    @property
    def _free_places(self) -> int:
        """How many runs may begin here. Those that wait for others take up none, or nobody might run those others."""
        return max(0, self._limits.total - sum(not slot.desk.is_waiting for slot in self._slots.values()))

    async def _claim(self) -> list[Claim]:
        return await self._claims.call(
            claim_pending,
            owner=self.owner,
            slots=self._free_places,
            per_user=self._limits.per_user,
            lease=timedelta(seconds=self._limits.lease),
        )

    async def _hold_leases(self) -> None:
        while True:
            keys = list(self._slots)
            held = await self._ask_database(partial(self._renew, keys))
            if held is not None:
                self._compare(keys, held)
            await self._ask_database(self._note)
            await asyncio.sleep(self._limits.renew)

    async def _note(self) -> None:
        running, capacity = len(self._slots), self._limits.total
        await self._leases.call(
            note_worker, owner=self.owner, capacity=capacity, running=running, accepting=self._accepting
        )

    async def _renew(self, keys: list[int]) -> dict[int, bool]:
        lease = timedelta(seconds=self._limits.lease)
        return await self._leases.call(renew, owner=self.owner, keys=keys, lease=lease)

    async def _release(self, keys: Sequence[int], *, in_good_order: bool = True) -> None:
        await self._claims.call(release, owner=self.owner, keys=keys, in_good_order=in_good_order)

    async def _claim_stalled(self) -> list[Claim]:
        return await self._claims.call(
            claim_stalled,
            owner=self.owner,
            slots=self._limits.total,
            held=list(self._slots),
            lease=timedelta(seconds=self._limits.lease),
        )

    def _compare(self, keys: list[int], held: dict[int, bool]) -> None:
        """Stops what is not ours any more, and what somebody in another process wants cancelled."""
        for pk in keys:
            slot = self._slots.get(pk)
            if slot is None:
                continue
            if pk not in held:
                _tell(slot, None)
            elif held[pk]:
                _tell(slot, CANCELLED)

    def _begin(self, claim: Claim, ending: Ending | None) -> None:
        if claim.run.attempt == 1:
            waited = datetime.now(UTC) - claim.run.created_at
            metrics.RUN_WAIT_SECONDS.observe(max(0.0, waited.total_seconds()))
        slot = _Slot(claim, Desk(self), asyncio.get_running_loop().create_future())
        if ending is not None:
            slot.stop.set_result(ending)
        self._slots[claim.run.pk] = slot
        slot.task = asyncio.create_task(self._execute(slot), name=claim.run.run_id)

    async def _execute(self, slot: _Slot) -> None:
        try:
            await self._core.execute(slot.claim, slot.stop, slot.desk)
            if slot.stop.done() and slot.stop.result() is None:
                await self._ask_database(partial(self._release, [slot.claim.run.pk]))
        except (
            Exception,
            GeneratorExit,
            SystemExit,
        ):  # the run stays live in the database: whoever takes it over tries it again or ends it
            log.exception("run was given up", run_id=slot.claim.run.run_id)
            await self._ask_database(partial(self._release, [slot.claim.run.pk], in_good_order=False))
        finally:
            if self._slots.get(slot.claim.run.pk) is slot:
                del self._slots[slot.claim.run.pk]
            if slot.claim.run.parent_run_id is not None:
                self.ring(slot.claim.run.parent_run_id)
            self._wake.set()

    async def _ask_database(self, ask: Callable[[], Awaitable[R]]) -> R | None:
        """None when the database does not answer, or an error of ours came up: the next round asks again."""
        try:
            return await ask()
        except AWAY as error:
            log.warning("database away", error=str(error))
        except ProgrammingError as error:
            remedy = "Run `manage.py migrate`, if tables are missing."
            log.error("runner's duty failed", error=str(error), remedy=remedy)
        except Exception:  # whatever it is, a runner that stops taking runs would be worse
            log.exception("runner's duty failed")
        await asyncio.sleep(0.5)
        return None


def _tell(slot: _Slot, ending: Ending | None) -> None:
    if not slot.stop.done():
        slot.stop.set_result(ending)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
