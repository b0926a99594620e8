"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

PACKAGES = (
    *("Django", "channels", "channels_redis", "redis", "psycopg", "daphne", "Twisted", "autobahn"),
    *("msgspec", "websockets"),
)
SUBJECTS = {
    "netra": "Netra, durable",
    "many": "Netra with PostgreSQL, Redis, a worker",
    "plain": "one group_send per event",
    "pubsub": "the same by Redis, from another process",
    "bare": "bare socket",
}
PAIRS = (("netra", "plain"), ("many", "pubsub"), ("netra", "bare"))

Results = dict[str, dict[str, float]]
"""Medians: measure, then subject."""


class Row(NamedTuple):
    measure: str
    title: str
    unit: str


ROWS = (
    Row("one_run.events_per_s", "one run, as fast as it goes", "events/s"),
    Row("many_runs.events_per_s", "twenty runs, as fast as they go", "events/s"),
    Row("one_run.processor_us", "server's processor time per event", "µs"),
    Row("paced.latency_p50_ms", "1,000 events/s, p50", "ms"),
    Row("paced.latency_p99_ms", "1,000 events/s, p99", "ms"),
    Row("paced.latency_max_ms", "1,000 events/s, slowest", "ms"),
    Row("one_run.memory_mb", "memory kept after one run", "MB"),
    Row("one_run.memory_peak_mb", "memory at the most in one run", "MB"),
    Row("idle.socket_kib", "memory per idle socket", "KiB"),
    Row("replay.replay_ms", "replay of 300 events", "ms"),
    Row("starts.runs_per_s", "runs that do nothing, begun and ended", "runs/s"),
    Row("at_once.begun_s", "1,000 runs of 500 users, until all go on", "s"),
    Row("at_once.events_per_s", "1,000 runs of 10 events/s each, together", "events/s"),
    Row("at_once.latency_p50_ms", "1,000 runs of 10 events/s each, p50", "ms"),
    Row("at_once.latency_p99_ms", "1,000 runs of 10 events/s each, p99", "ms"),
    Row("crowd.p50_s", "sockets that come back at once, half of them caught up", "s"),
    Row("crowd.last_s", "sockets that come back at once, the last caught up", "s"),
)


def summarise(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> Results:
    """The medians of what the rounds gave: subject, then measure."""
    results: Results = {}
    for row in ROWS:
        subjects = [name for name, numbers in rounds[0].items() if row.measure in numbers]
        results[row.measure] = {name: median(of[name][row.measure] for of in rounds) for name in subjects}
    return results


def ratios(results: Results) -> Results:
    """The first one's median over the other's, for each pair that has both."""
    return {
        measure: {f"{one}/{other}": of[one] / of[other] for one, other in PAIRS if one in of and of.get(other, 0) > 0}
        for measure, of in results.items()
    }


def table(results: Results) -> str:
    """In Markdown."""
    compared = ratios(results)
    pairs = [f"{one}/{other}" for one, other in PAIRS]
    lines = [
        f"| measure | unit | {' | '.join([*SUBJECTS.values(), *pairs])} |",
        f"|---|---|{'---:|' * (len(SUBJECTS) + len(pairs))}",
    ]
    for row in ROWS:
        cells = [_number(results[row.measure].get(name)) for name in SUBJECTS]
        cells += [_number(compared[row.measure].get(pair)) for pair in pairs]
        lines.append(f"| {row.title} | {row.unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def describe(facts: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    return (
        f"{facts['cores']} cores of {facts['cpu']}, {facts['memory_gb']} GB, Linux {facts['kernel']},"
        f" Python {facts['python']}, {packages}"
    )


def write(
    path: Path, *, results: Results, rounds: Sequence[Any], work: Mapping[str, Any], load: Sequence[float]
) -> None:
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv[1:],
        "machine": machine(),
        "load_before": list(load),
        "work": work,
        "medians": results,
        "ratios": ratios(results),
        "rounds": rounds,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
