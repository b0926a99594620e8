"""Many runs of many users at once: how many are begun and ended in a second, and how late their events are."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import datetime

import msgspec

from tests.benchmarks.crowd import Crowd
from tests.benchmarks.measures import Numbers, compare_with_log
from tests.benchmarks.member import Member
from tests.benchmarks.subjects import EVENT_BYTES, Netra

USERS_OF_STARTS = 50
RUNS_OF_USER = 2
RATE = 10.0
"""Of each run, in events per second."""
SEEN_FIRST = 3
"""Events of a run that goes on: agent_started, and the first two that were asked for."""


class _Event(msgspec.Struct):
    type: str
    timestamp: datetime


class Clerk(Member):
    """Notes when the events of its runs were emitted and when they came, in seconds since the epoch."""

    def __init__(self, url: str, token: str, texts: dict[bytes, bytes]) -> None:
        super().__init__(url, token, texts)
        self.arrivals: dict[str, list[float]] = defaultdict(list)

    def note(self, run_id: str, text: bytes) -> None:
        self.arrivals[run_id].append(time.time())


def starts(netra: Netra, *, runs: int) -> Numbers:
    """Runs that do nothing, from the first request to the last agent_completed; the sockets are open before."""
    crowd = Crowd(netra.ws_url, netra.tokens[:USERS_OF_STARTS], tabs=1)
    seconds = asyncio.run(_execute(crowd, runs // USERS_OF_STARTS))
    compare_with_log(netra, crowd, runs // USERS_OF_STARTS)
    return {"runs_per_s": runs / seconds}


async def _execute(crowd: Crowd, runs: int) -> float:
    try:
        await crowd.connect()
        begin = time.monotonic()
        await crowd.execute_runs(runs, script=[])
        return time.monotonic() - begin
    finally:
        crowd.leave()


def many_at_once(netra: Netra, *, runs: int, seconds: float) -> Numbers:
    """How late events arrive while so many runs emit at their pace. Late is against the pace, not the timestamp: an
    event that was emitted late is late."""
    crowd = Crowd(netra.ws_url, netra.tokens[: runs // RUNS_OF_USER], tabs=1, member=Clerk)
    asked, begin, end = asyncio.run(_look_on(crowd, seconds))
    events = compare_with_log(netra, crowd, RUNS_OF_USER)
    delays = sorted(delay * 1000 for clerk in crowd.members for delay in _delays(clerk, begin, end))
    return {
        "begun_s": begin - asked,
        "events_per_s": len(delays) / (end - begin),
        "latency_p50_ms": delays[len(delays) // 2],
        "latency_p99_ms": delays[len(delays) * 99 // 100],
        "latency_max_ms": delays[-1],
        "events": events,
    }


async def _look_on(crowd: Crowd, seconds: float) -> tuple[float, float, float]:
    """When the runs were asked for, when all were under way, and when they were cancelled."""
    script: list[dict[str, object]] = [{"emit": 1_000_000, "rate": RATE, "bytes": EVENT_BYTES}]
    try:
        await crowd.connect()
        asked = time.time()
        await crowd.start_runs(RUNS_OF_USER, events=RUNS_OF_USER * SEEN_FIRST, script=script)
        begin = time.time()
        await asyncio.sleep(seconds)
        end = time.time()
        await crowd.end_runs()
        return asked, begin, end
    finally:
        crowd.leave()


def _delays(clerk: Member, begin: float, end: float) -> list[float]:
    """Of the events that arrived in this time, in seconds."""
    assert isinstance(clerk, Clerk)
    decode = msgspec.json.Decoder(_Event).decode
    delays: list[float] = []
    for run_id, texts in clerk.taken.items():
        events = [decode(text) for text in texts]
        pairs = zip(events, clerk.arrivals[run_id], strict=True)
        asked_for = [(e.timestamp.timestamp(), at) for e, at in pairs if e.type == "agent_thinking"][1:]
        start = min(emitted - place / RATE for place, (emitted, _) in enumerate(asked_for))
        delays += [at - start - place / RATE for place, (_, at) in enumerate(asked_for) if begin <= at < end]
    return delays
