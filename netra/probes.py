"""The parts whose answers make a process ready, and the sentences that tell of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import ProgrammingError, connection

from agents.database import OwnThread, in_database
from agents.models import AgentExecution
from agents.workers import is_anybody_working
from netra.health import OK, Finding, Probe

DATABASE_AWAY: Final = Finding("failed", "The database does not answer.")
NO_TABLES: Final = Finding("failed", "The database lacks tables: run `manage.py migrate`.")
CLOCK_OFF: Final = Finding(
    "degraded",
    "This machine's clock is not that of the database: leases and deadlines are wrong by the difference."
    " Let NTP set both clocks.",
)
THREADS_BUSY: Final = Finding("degraded", "All threads for queries are busy: answers come late.")
LAYER_AWAY: Final = Finding("degraded", "The channel layer brings no messages: events come from the log.")
RUNNER_DEAD: Final = Finding("failed", "The runner has stopped: no run is executed.")
NO_WORKER: Final = Finding("degraded", "No worker takes runs: they wait. Start one: `manage.py agent_worker`.")
NOT_ALONE: Final = Finding(
    "degraded",
    "Another process executes runs, and the channel layer in memory does not reach it: events come from the log."
    " Set REDIS_URL for both, or stop one.",
)

HEARD_SECONDS: Final = 1.0
CLOCKS_DIFFER: Final = timedelta(seconds=2)
"""Much less than a lease, which one machine grants and another finds run out."""


def probe_database(thread: OwnThread) -> Probe:
    """By a query, in a thread of its own: neither busy threads nor a full pool of them say anything of the database."""

    async def ask() -> Finding:
        try:
            await thread.call(_read_a_key)
        except ProgrammingError:
            return NO_TABLES
        return OK

    return Probe(name="database", ask=ask, otherwise=DATABASE_AWAY)


def probe_clock(thread: OwnThread) -> Probe:
    """Whether the moments that this process writes are those that the others read."""

    async def ask() -> Finding:
        asked_at = datetime.now(UTC)
        told = await thread.call(_read_clock)
        is_right = asked_at - CLOCKS_DIFFER <= told <= datetime.now(UTC) + CLOCKS_DIFFER
        return OK if is_right else CLOCK_OFF

    return Probe(name="clock", ask=ask, otherwise=OK)  # of the database, another probe tells


def probe_threads() -> Probe:
    async def ask() -> Finding:
        await in_database(_do_nothing)
        return OK

    return Probe(name="threads", ask=ask, otherwise=THREADS_BUSY)


def probe_layer(is_heard: Callable[[], bool]) -> Probe:
    """By whether a message to ourselves has come back; a process that has just begun gives it a moment."""

    async def ask() -> Finding:
        async with asyncio.timeout(HEARD_SECONDS):
            while not is_heard():  # noqa: ASYNC110 - the layer tells nobody
                await asyncio.sleep(0.05)
        return OK

    return Probe(name="channel_layer", ask=ask, otherwise=LAYER_AWAY)


def probe_runner(is_alive: Callable[[], bool]) -> Probe:
    async def ask() -> Finding:
        return OK if is_alive() else RUNNER_DEAD

    return Probe(name="runner", ask=ask, otherwise=RUNNER_DEAD)


def probe_workers(thread: OwnThread, *, silence: float) -> Probe:
    """Whether somebody executes runs; `silence` in seconds: who said nothing for so long is not there."""

    async def ask() -> Finding:
        since = datetime.now(UTC) - timedelta(seconds=silence)
        return OK if await thread.call(is_anybody_working, since=since) else NO_WORKER

    return Probe(name="workers", ask=ask, otherwise=OK)  # of the database, another probe tells


def probe_solitude(thread: OwnThread, *, owner: str, silence: float) -> Probe:
    """For the channel layer in memory, which reaches this process only: nobody else may execute runs."""
    begin = datetime.now(UTC)  # a predecessor was seen before, if at all

    async def ask() -> Finding:
        since = max(begin, datetime.now(UTC) - timedelta(seconds=silence))
        return NOT_ALONE if await thread.call(is_anybody_working, since=since, besides=owner) else OK

    return Probe(name="processes", ask=ask, otherwise=OK)  # as above


def _read_a_key() -> None:
    list(AgentExecution.objects.order_by().values_list("pk")[:1])


def _read_clock() -> datetime:
    ask = (
        "SELECT (julianday('now') - 2440587.5) * 86400"
        if connection.vendor == "sqlite"
        else "SELECT extract(epoch FROM now())"
    )
    with connection.cursor() as cursor:
        cursor.execute(ask)
        return datetime.fromtimestamp(float(cursor.fetchone()[0]), UTC)


def _do_nothing() -> None:
    return
