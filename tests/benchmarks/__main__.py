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
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tests.benchmarks import measures, report
from tests.benchmarks.crowd import allow_files
from tests.benchmarks.measures import Numbers
from tests.benchmarks.subjects import Bare, Netra, Plain, Subject
from tests.benchmarks.wire import Lost


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured; `events` are emitted by one run, and by `runs` runs together; `crowd` sockets come back."""

    rounds: int
    events: int
    runs: int
    rate: float
    paced_events: int
    sockets: int
    crowd: int


FULL = Work(rounds=5, events=10_000, runs=20, rate=1000, paced_events=2000, sockets=500, crowd=2000)
QUICK = Work(rounds=1, events=2000, runs=20, rate=1000, paced_events=1000, sockets=100, crowd=200)


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
    with tempfile.TemporaryDirectory(prefix="netra-bench-") as name:
        folder = Path(name)
        netra, others = Netra(folder), [Plain(folder), Bare(folder)]
        rounds = []
        for number in range(1, work.rounds + 1):
            rounds.append(measure(netra, others, work))
            rates = ", ".join(f"{name} {of['one_run.events_per_s']:,.0f}" for name, of in rounds[-1].items())
            print(f"round {number} of {work.rounds}: {rates} events/s", flush=True)
        return rounds


def measure(netra: Netra, others: Sequence[Subject], work: Work) -> dict[str, Numbers]:
    subjects = [netra, *others]
    with ExitStack() as stack:
        for subject in subjects:
            stack.enter_context(subject)
            measures.warm_up(subject)
        numbers: dict[str, Numbers] = {subject.name: {} for subject in subjects}

        def note(subject: Subject, kind: str, found: Numbers) -> None:
            numbers[subject.name] |= {f"{kind}.{name}": value for name, value in found.items()}

        for subject in subjects:
            note(subject, "one_run", measures.throughput(subject, runs=1, events=work.events))
        for subject in subjects:
            note(subject, "many_runs", measures.throughput(subject, runs=work.runs, events=work.events))
        for subject in subjects:
            note(subject, "paced", measures.latency(subject, rate=work.rate, events=work.paced_events))
        note(netra, "replay", measures.replay(netra))
        for subject in subjects:
            subject.restart()  # memory that was freed before would be used again
            measures.warm_up(subject)
            note(subject, "idle", measures.idle_sockets(subject, sockets=work.sockets))
        note(netra, "crowd", measures.reconnect(netra, sockets=work.crowd))
        return numbers


if __name__ == "__main__":
    sys.exit(main())
