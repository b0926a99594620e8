"""What is found of each part, and what follows from it, with real parts that hang, fail and come back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from agents.database import OwnThread, in_database
from agents.workers import note_worker
from netra import probes
from netra.health import OK, STARTING, STOPPING, Finding, Health, Probe, Report
from tests.runs import until

AWAY = Finding("failed", "It is away.")
LATE = Finding("degraded", "It is late.")


@asynccontextmanager
async def watching(*given: Probe, patience: float = 3.0) -> AsyncIterator[Health]:
    health = Health(given, patience=patience)
    health.start()
    try:
        yield health
    finally:
        health.stop()


def probe(ask: Callable[[], Awaitable[Finding]], otherwise: Finding = AWAY, name: str = "part") -> Probe:
    return Probe(name=name, ask=ask, otherwise=otherwise)


async def fine() -> Finding:
    return OK


async def fail() -> Finding:
    raise ConnectionError("postgres://netra:secret@db.example refused")


async def hang() -> Finding:
    """As a clean-up on a dead link does: its cancellation changes nothing."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if asyncio.current_task() in abandoned:
                raise
            abandoned.add(asyncio.current_task())


abandoned: set[asyncio.Task[object] | None] = set()


async def found(*given: Probe, patience: float = 3.0) -> Report:
    async with watching(*given, patience=patience) as health:
        await health.is_ready()
        return health.report


async def test_who_asks_at_once_waits_until_it_is_known():
    async with watching(probe(fine)) as health:
        assert health.report == Report("failed", {"server": STARTING})
        assert await health.is_ready()
        assert health.report == Report("ok", {"server": OK, "part": OK})


@pytest.mark.parametrize(
    ("otherwise", "is_ready"), [(AWAY, False), (LATE, True)], ids=["failed: not ready", "degraded: ready"]
)
@pytest.mark.parametrize("ask", [fail, hang])
async def test_a_part_that_fails_or_hangs_is_told_by_its_sentence(ask, otherwise, is_ready):
    report = await found(probe(fine, name="other"), probe(ask, otherwise), patience=0.05)

    assert report == Report(otherwise.status, {"server": OK, "other": OK, "part": otherwise})
    assert report.is_ready is is_ready


async def test_a_part_that_hangs_is_not_asked_by_more_and_more_tasks():
    asked = 0

    async def count() -> Finding:
        nonlocal asked
        asked += 1
        return await hang()

    rounds = 0

    async def note() -> Finding:
        nonlocal rounds
        rounds += 1
        return OK

    async with watching(probe(count), probe(note, name="rounds"), patience=0.01):
        await until(lambda: rounds >= 2)
        assert asked == 1


async def test_what_comes_back_is_ready_again():
    is_back = False

    async def ask() -> Finding:
        return OK if is_back else AWAY

    async with watching(probe(ask)) as health:
        assert not await health.is_ready()
        is_back = True
        await until(lambda: health.report.is_ready)


async def test_a_server_that_stops_is_not_ready_whatever_its_parts_say():
    async with watching(probe(fine)) as health:
        assert await health.is_ready()
        health.stop()
        assert not await health.is_ready()
        assert health.report.checks["server"] == STOPPING


async def test_who_waits_when_it_stops_is_told():
    async with watching(probe(hang)) as health:
        waiting = asyncio.create_task(health.is_ready())
        await asyncio.sleep(0)
        health.stop()
        assert await waiting is False


# ─ the parts


@pytest.mark.django_db(transaction=True)
async def test_the_database_answers():
    thread = OwnThread("test")
    report = await found(probes.probe_database(thread))
    thread.close()

    assert report.checks["database"] == OK


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("ahead", "expected"), [(0.0, OK), (5.0, probes.CLOCK_OFF), (-5.0, probes.CLOCK_OFF)], ids=["same", "fast", "slow"]
)
async def test_a_clock_that_is_not_the_databases_is_told(ahead, expected):
    thread = OwnThread("test")
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=ahead)):
        report = await found(probes.probe_clock(thread))
    thread.close()

    assert report.checks["clock"] == expected


async def test_a_database_that_hangs_is_told_while_it_does():
    thread, gate = OwnThread("test"), threading.Event()
    hanging = asyncio.ensure_future(thread.call(gate.wait))

    try:
        assert (await found(probes.probe_database(thread), patience=0.05)).checks["database"] == probes.DATABASE_AWAY
    finally:
        gate.set()
    await hanging
    thread.close()


@pytest.mark.django_db(transaction=True)
async def test_threads_that_all_hang_do_not_make_the_database_look_away():
    gate, thread = threading.Event(), OwnThread("test")
    hanging = [asyncio.ensure_future(in_database(gate.wait)) for _ in range(8)]

    async with watching(probes.probe_database(thread), probes.probe_threads(), patience=0.5) as health:
        try:
            assert await health.is_ready()
            assert health.report.checks == {"server": OK, "database": OK, "threads": probes.THREADS_BUSY}
        finally:
            gate.set()
        await until(lambda: health.report.checks["threads"] == OK)
    await asyncio.gather(*hanging)
    thread.close()


async def test_a_layer_that_brings_nothing_back_degrades():
    is_heard = True

    async with watching(probes.probe_layer(lambda: is_heard), patience=0.05) as health:
        assert await health.is_ready()
        assert health.report.checks["channel_layer"] == OK
        is_heard = False
        await until(lambda: health.report.checks["channel_layer"] == probes.LAYER_AWAY)
        assert health.report.is_ready


async def test_a_process_that_has_just_begun_may_yet_be_heard():
    answers = iter([False, False, True])

    assert (await found(probes.probe_layer(lambda: next(answers)))).checks["channel_layer"] == OK


async def test_without_a_runner_a_server_is_not_ready():
    assert (await found(probes.probe_runner(lambda: True))).checks["runner"] == OK
    assert (await found(probes.probe_runner(lambda: False))).checks["runner"] == probes.RUNNER_DEAD


@pytest.mark.django_db(transaction=True)
async def test_a_server_without_runner_tells_when_no_worker_takes_runs():
    thread = OwnThread("test")

    async def look() -> Finding:
        return (await found(probes.probe_workers(thread, silence=6.0))).checks["workers"]

    assert await look() == probes.NO_WORKER
    await in_database(see_worker, "worker_late", accepting=True, ago=7.0)
    await in_database(see_worker, "worker_stopping", accepting=False)
    assert await look() == probes.NO_WORKER
    await in_database(see_worker, "worker_there", accepting=True)
    assert await look() == OK
    thread.close()


@pytest.mark.django_db(transaction=True)
async def test_another_process_that_executes_runs_is_told_where_no_layer_reaches_it():
    thread = OwnThread("test")
    await in_database(see_worker, "worker_before", accepting=True)
    probe = probes.probe_solitude(thread, owner="worker_mine", silence=60.0)

    async def look() -> Finding:
        return (await found(probe)).checks["processes"]

    await in_database(see_worker, "worker_mine", accepting=True)
    assert await look() == OK
    await in_database(see_worker, "worker_beside", accepting=True)
    assert await look() == probes.NOT_ALONE
    thread.close()


def see_worker(owner: str, *, accepting: bool, ago: float = 0.0) -> None:
    now = datetime.now(UTC) - timedelta(seconds=ago)
    note_worker(owner=owner, capacity=1, running=0, accepting=accepting, now=now)
