"""What a chaos run did and found, for people."""

from __future__ import annotations

import statistics
from collections import Counter

from tests.chaos.conductor import Record
from tests.chaos.laws import measure_fates

SHOWN = 20


def describe(record: Record, broken: list[str], seconds: float) -> str:
    size, fates = record.plan.size, measure_fates(record)
    statuses = Counter(row["status"] for row in record.runs)
    attempts = Counter(row["attempt"] for row in record.runs)
    lines = [
        f"seed {record.plan.seed}: {size.users} users, {len(record.witnesses)} clients, {len(record.runs)} runs,"
        f" {sum(map(len, record.logs.values())):,} events in the log,"
        f" {sum(len(witness.frames) for witness in record.witnesses):,} received, {seconds:.0f} s",
        f"did: {_counts(record.did)}",
        f"runs: {_counts(statuses)}; attempts: {_counts(attempts)}",
        f"connections: {sum(len(witness.connections) for witness in record.witnesses)},"
        f" closed with {_counts(sum((witness.closes for witness in record.witnesses), Counter()))};"
        f" errors: {_counts(sum((witness.errors for witness in record.witnesses), Counter()))}",
        f"runs that a client could not have heard of: {len(record.unheard)}",
    ]
    if fates.since_return:
        lines.append(
            f"the fate of a run, {len(fates.since_return)} times: at most {max(fates.since_return):.1f} s"
            f" (median {statistics.median(fates.since_return):.1f} s) after the server was back,"
            f" {max(fates.since_death):.1f} s after it died"
        )
    lines.append(f"BROKEN, {len(broken)} times:" if broken else "Every law held.")
    lines += [f"  {sentence[:1500]}" for sentence in broken[:SHOWN]]
    return "\n".join(lines)


def _counts(counter: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items(), key=str)) or "none"
