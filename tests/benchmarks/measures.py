"""The measurements: each asks one thing of one subject and returns numbers by name. What is lost raises Lost."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import msgspec

from tests.benchmarks.crowd import Crowd
from tests.benchmarks.subjects import EVENT_BYTES, Netra, Subject
from tests.benchmarks.wire import Arrival, Lost

Numbers = dict[str, float]

SETTLE_SECONDS = 0.3
REPLAYS = 5
REPLAYED_EVENTS = 300
USERS_OF_CROWD = 50
RUNS_OF_CROWD = 2
EVENTS_BEFORE_CUT = 60
SCRIPT_OF_CROWD: list[dict[str, object]] = [
    {"emit": EVENTS_BEFORE_CUT, "bytes": EVENT_BYTES},
    {"emit": 1000, "rate": 0.2, "bytes": EVENT_BYTES},
]
"""Live runs: they go on while sockets are cut and come back, and until they are cancelled."""


class _Event(msgspec.Struct):
    """What is read of a frame; replies have no seq."""

    type: str
    timestamp: datetime | None = None
    run_id: str = ""
    seq: int = 0


class _Seen(msgspec.Struct):
    """An event of a run: when it was emitted and when it arrived, in seconds since the epoch."""

    text: bytes
    emitted: float
    arrived: float


def throughput(subject: Subject, *, runs: int, events: int) -> Numbers:
    """Events per second over all runs, from the first one's timestamp to the arrival of the last.

    Beside it what it cost the server: processor time per event, which a busy machine disturbs less, and memory.
    """
    before = _memory(subject.pids, "VmRSS")
    _forget_peak(subject.pids)
    processor = _processor_seconds(subject.pids)
    seen = _emit(subject, runs=runs, events=events // runs, rate=None)
    seconds = max(event.arrived for event in seen) - min(event.emitted for event in seen)
    time.sleep(SETTLE_SECONDS)
    return {
        "events_per_s": len(seen) / seconds,
        "processor_us": (_processor_seconds(subject.pids) - processor) / len(seen) * 1e6,
        "memory_mb": (_memory(subject.pids, "VmRSS") - before) / 1e6,
        "memory_peak_mb": (_memory(subject.pids, "VmHWM") - before) / 1e6,
    }


def latency(subject: Subject, *, rate: float, events: int) -> Numbers:
    """Milliseconds from an event's timestamp to its arrival, at a steady rate."""
    seen = _emit(subject, runs=1, events=events, rate=rate)
    delays = sorted((event.arrived - event.emitted) * 1000 for event in seen)
    return {
        "latency_p50_ms": delays[len(delays) // 2],
        "latency_p99_ms": delays[len(delays) * 99 // 100],
        "latency_max_ms": delays[-1],
    }


def replay(netra: Netra) -> Numbers:
    """Milliseconds from `resume` to `caught_up` over a whole run of 300 events."""
    with netra.connect() as wire:
        netra.emit(wire, runs=1, events=REPLAYED_EVENTS - 3, rate=None)  # three are told by the core
        live = wire.receive_until("agent_completed")
    run_id = msgspec.json.decode(live[-1].text, type=_Event).run_id
    expected = _events_of(live)[-REPLAYED_EVENTS:]
    times = []
    with netra.connect() as wire:
        for _ in range(REPLAYS):
            begin = time.time()
            wire.send(type="resume", cursors={run_id: 0})
            arrivals = wire.receive_until("caught_up")
            times.append((arrivals[-1].at - begin) * 1000)
            if _events_of(arrivals) != expected:
                raise Lost(f"a replay of {run_id} is not what was seen live")
    return {"replay_ms": sorted(times)[REPLAYS // 2]}


def _events_of(arrivals: Sequence[Arrival]) -> list[bytes]:
    """Without what is told in between, such as heads."""
    return [arrival.text for arrival in arrivals if msgspec.json.decode(arrival.text, type=_Event).seq]


def idle_sockets(subject: Subject, *, sockets: int) -> Numbers:
    """Memory of the web process for each socket on which nothing happens."""
    before = _memory(subject.pids[:1], "VmRSS")
    with ExitStack() as stack:
        for _ in range(sockets):
            stack.enter_context(subject.connect_idle())
        time.sleep(SETTLE_SECONDS)
        return {"socket_kib": (_memory(subject.pids[:1], "VmRSS") - before) / sockets / 1024}


def reconnect(netra: Netra, *, sockets: int) -> Numbers:
    """Seconds until all of many sockets that were cut at once, in the middle of runs, have come back and caught up."""
    crowd = Crowd(netra.ws_url, netra.tokens[:USERS_OF_CROWD], tabs=sockets // USERS_OF_CROWD)
    seconds = sorted(asyncio.run(_cut_and_return(crowd)))
    events = compare_with_log(netra, crowd, RUNS_OF_CROWD)
    return {
        "p50_s": seconds[len(seconds) // 2],
        "p99_s": seconds[len(seconds) * 99 // 100],
        "last_s": seconds[-1],
        "refused": sum(member.refused for member in crowd.members),
        "early": sum(member.early for member in crowd.members),
        "events": events,
    }


async def _cut_and_return(crowd: Crowd) -> list[float]:
    try:
        await crowd.connect()
        await crowd.start_runs(RUNS_OF_CROWD, events=RUNS_OF_CROWD * EVENTS_BEFORE_CUT, script=SCRIPT_OF_CROWD)
        await crowd.gather()
        seconds = await crowd.reconnect()
        await crowd.end_runs()
    finally:
        crowd.leave()
    return seconds


def compare_with_log(netra: Netra, crowd: Crowd, runs: int) -> int:
    """How many events the sockets have taken together. Raises Lost when one has not what the log has."""
    takings = _by_run_of(crowd, runs)
    logged = netra.logged(list(takings))
    for run_id, of_run in takings.items():
        if any([text.decode() for text in taken] != logged[run_id] for taken in of_run):
            raise Lost(f"a socket has not what the log has of {run_id}")
    return sum(len(logged[run_id]) * len(of_run) for run_id, of_run in takings.items())


def _by_run_of(crowd: Crowd, runs: int) -> dict[str, list[list[bytes]]]:
    """What each socket took of each run, by run."""
    takings: dict[str, list[list[bytes]]] = defaultdict(list)
    for member in crowd.members:
        if len(member.taken) != runs:
            raise Lost(f"a socket has seen {len(member.taken)} runs, not {runs}")
        for run_id, taken in member.taken.items():
            takings[run_id].append(taken)
    return takings


def warm_up(subject: Subject) -> None:
    """What a process does only once is not measured."""
    _emit(subject, runs=1, events=200, rate=None)


def _emit(subject: Subject, *, runs: int, events: int, rate: float | None) -> list[_Seen]:
    """The events asked for, as they arrived; nothing is missing of them."""
    with subject.connect() as wire:
        subject.emit(wire, runs=runs, events=events, rate=rate)
        arrivals = wire.receive_until("agent_completed", times=runs)
    by_run = _by_run(arrivals)
    if len(by_run) != runs:
        raise Lost(f"{subject.name}: {len(by_run)} runs were seen, not {runs}")
    logged = subject.logged(list(by_run)) if isinstance(subject, Netra) else None
    asked: list[_Seen] = []
    for run_id, seen in by_run.items():
        if len(seen) != events + subject.first_seq:  # and the agent_completed
            raise Lost(f"{subject.name}: {len(seen)} events of {run_id} came, not {events + subject.first_seq}")
        if logged is not None and logged[run_id] != [event.text.decode() for event in seen]:
            raise Lost(f"the log of {run_id} is not what was seen live")
        asked += seen[subject.first_seq - 1 : -1]
    return asked


def _by_run(arrivals: Sequence[Arrival]) -> dict[str, list[_Seen]]:
    """Parsed only now: reading comes first while events arrive."""
    decode = msgspec.json.Decoder(_Event).decode
    by_run: dict[str, list[_Seen]] = defaultdict(list)
    for arrival in arrivals:
        event = decode(arrival.text)
        if event.timestamp is not None:
            by_run[event.run_id].append(_Seen(arrival.text, event.timestamp.timestamp(), arrival.at))
            if event.seq != len(by_run[event.run_id]):
                raise Lost(f"event {event.seq} of {event.run_id} came in place {len(by_run[event.run_id])}")
    return by_run


def _processor_seconds(pids: Sequence[int]) -> float:
    """Of all their threads, in their own code and in the kernel's."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(of[11]) + int(of[12]) for of in fields) / os.sysconf("SC_CLK_TCK")


def _memory(pids: Sequence[int], field: str) -> float:
    """Bytes: VmRSS is what the processes hold now, VmHWM the most since `_forget_peak`."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _forget_peak(pids: Sequence[int]) -> None:
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
