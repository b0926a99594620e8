"""What a chaos run did and found, for people."""

from __future__ import annotations

import statistics
from collections import Counter

from tests.chaos.conductor import Record
from tests.chaos.laws import measure_fates

SHOWN = 20


def describe(record: Record, broken: list[str], seconds: float) -> str:
    size, fates, witnesses = record.plan.size, measure_fates(record), record.witnesses
    statuses = Counter(row["status"] for row in record.runs)
    attempts = Counter(row["attempt"] for row in record.runs)
    logged, received = sum(map(len, record.logs.values())), sum(len(witness.frames) for witness in witnesses)
    amount = f"{size.users} users, {len(witnesses)} clients, {len(record.runs)} runs"
    closes = sum((witness.closes for witness in witnesses), Counter[int]())
    errors = sum((witness.errors for witness in witnesses), Counter[str]())
    connections = sum(len(witness.connections) for witness in witnesses)
    lines = [
        f"seed {record.plan.seed}: {amount}, {logged:,} events in the log, {received:,} received, {seconds:.0f} s",
        f"did: {_counts(record.did)}",
        f"runs: {_counts(statuses)}; attempts: {_counts(attempts)}",
        f"connections: {connections}, closed with {_counts(closes)}; errors: {_counts(errors)}",
        f"runs that a client could not have heard of: {len(record.unheard)}",
    ]
    if fates.since_return:
        dead, back, connected = map(max, (fates.since_death, fates.since_return, fates.since_connected))
        middle = statistics.median(fates.since_return)
        after = f"{back:.1f} s (median {middle:.1f} s) after it was back, {connected:.1f} s after the client was too"
        times = f"{len(fates.since_return)} times in {fates.measured} outages"
        lines.append(f"the fate of a run, {times}: at most {dead:.1f} s after a death, {after}")
    lines.append(f"BROKEN, {len(broken)} times:" if broken else "Every law held.")
    lines += [f"  {sentence[:1500]}" for sentence in broken[:SHOWN]]
    return "\n".join(lines)


def _counts(counter: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items(), key=str)) or "none"
