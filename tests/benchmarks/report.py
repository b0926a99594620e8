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

PACKAGES = ("Django", "channels", "daphne", "Twisted", "autobahn", "msgspec", "websockets")

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
    """Netra's median over each other subject's."""
    return {
        measure: {f"netra/{name}": of["netra"] / of[name] for name in ("plain", "bare") if of.get(name, 0) > 0}
        for measure, of in results.items()
    }


def table(results: Results) -> str:
    """In Markdown."""
    compared = ratios(results)
    lines = [
        "| measure | unit | Netra, durable | one group_send per event | bare socket | Netra/plain | Netra/bare |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in ROWS:
        cells = [_number(results[row.measure].get(name)) for name in ("netra", "plain", "bare")]
        cells += [_number(compared[row.measure].get(f"netra/{name}")) for name in ("plain", "bare")]
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
