"""`make bench`: how fast, how soon and how large, beside the same work without a log and the bare socket.

Prints a table of medians; with BENCH_JSON=path writes all numbers there. Exits with 1 if an event was lost. Nothing
is judged by the clock.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from netra.testing.postgresql import PostgresqlServer
from netra.testing.redis import RedisServer
from tests.benchmarks import measures, multitude, report
from tests.benchmarks.crowd import allow_files
from tests.benchmarks.measures import Numbers
from tests.benchmarks.subjects import Bare, Netra, NetraInSeveral, Plain, Pubsub, Subject
from tests.benchmarks.wire import Lost


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured; `events` are emitted by one run, and by `runs` runs together; `crowd` sockets come back.

    `starts` runs do nothing; `multitude` runs go on at once for so many seconds.
    """

    rounds: int
    events: int
    runs: int
    rate: float
    paced_events: int
    sockets: int
    crowd: int
    starts: int
    multitude: int
    seconds: float


FULL = Work(
    rounds=5,
    events=10_000,
    runs=20,
    rate=1000,
    paced_events=2000,
    sockets=500,
    crowd=2000,
    starts=500,
    multitude=1000,
    seconds=5.0,
)
QUICK = Work(
    rounds=1,
    events=2000,
    runs=20,
    rate=1000,
    paced_events=1000,
    sockets=100,
    crowd=200,
    starts=100,
    multitude=100,
    seconds=2.0,
)
DURABLE = {"fsync": "on", "full_page_writes": "on"}
"""What tests do without: a commit is on the disk."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Measures Netra on this machine.")
    parser.add_argument("--quick", action="store_true", help="one small round, in some 20 s")
    parser.add_argument("--rounds", type=int, help="rounds to take the medians of")
    arguments = parser.parse_args()
    work = QUICK if arguments.quick else FULL
    work = msgspec.structs.replace(work, rounds=arguments.rounds or work.rounds)
    allow_files(work.crowd)
    begin, load = time.monotonic(), os.getloadavg()
    print(f"{report.describe(report.machine())}\nload before: {load[0]:.2f}", flush=True)
    try:
        rounds = run(work)
    except (Lost, TimeoutError, ConnectionError) as error:
        print(f"FAILED: {error!r}", file=sys.stderr)
        return 1
    results = report.summarise(rounds)
    print(f"\n{report.table(results)}\n")
    print(f"Medians of {work.rounds} rounds, {work.events:,} events each, {time.monotonic() - begin:.0f} s.")
    print("Every event arrived once and in order, and Netra's log holds what was seen.")
    if path := os.environ.get("BENCH_JSON"):
        facts = msgspec.to_builtins(work)
        report.write(Path(path), results=results, rounds=rounds, work=facts, load=load)
    return 0


def run(work: Work) -> list[dict[str, Numbers]]:
    """Subject, then measure, for each round; within a round the subjects take turns, so that noise hits all alike."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netra-bench-")))
        database, redis = stack.enter_context(PostgresqlServer("", **DURABLE)), stack.enter_context(RedisServer())
        urls = {"DATABASE_URL": database.create_database(), "REDIS_URL": redis.url}
        netras = [Netra(folder / "netra"), NetraInSeveral(folder / "many", **urls)]
        others = [Plain(folder), Pubsub(folder, REDIS_URL=redis.url), Bare(folder)]
        rounds = []
        for number in range(1, work.rounds + 1):
            rounds.append(measure(netras, others, work))
            rates = ", ".join(f"{name} {of['one_run.events_per_s']:,.0f}" for name, of in rounds[-1].items())
            print(f"round {number} of {work.rounds}: {rates} events/s", flush=True)
        return rounds


def measure(netras: Sequence[Netra], others: Sequence[Subject], work: Work) -> dict[str, Numbers]:
    subjects = [*netras, *others]
    numbers: dict[str, Numbers] = {subject.name: {} for subject in subjects}

    def note(kind: str, measured: Sequence[Subject], ask: Callable[[Any], Numbers]) -> None:
        for subject in measured:
            numbers[subject.name] |= {f"{kind}.{name}": value for name, value in ask(subject).items()}

    def idle(subject: Subject) -> Numbers:
        subject.restart()  # memory that was freed before would be used again
        measures.warm_up(subject)
        return measures.idle_sockets(subject, sockets=work.sockets)

    with ExitStack() as stack:
        for subject in subjects:
            stack.enter_context(subject)
            measures.warm_up(subject)
        note("one_run", subjects, lambda of: measures.throughput(of, runs=1, events=work.events))
        note("many_runs", subjects, lambda of: measures.throughput(of, runs=work.runs, events=work.events))
        note("paced", subjects, lambda of: measures.latency(of, rate=work.rate, events=work.paced_events))
        note("replay", netras, measures.replay)
        note("starts", netras, lambda of: multitude.starts(of, runs=work.starts))
        note("at_once", netras, lambda of: multitude.many_at_once(of, runs=work.multitude, seconds=work.seconds))
        note("idle", subjects, idle)
        note("crowd", netras, lambda of: measures.reconnect(of, sockets=work.crowd))
    return numbers


if __name__ == "__main__":
    sys.exit(main())
