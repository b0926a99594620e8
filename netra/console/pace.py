"""How fast runs are: how long agents and phases take, and how many events there are in a second."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import msgspec
from django.db.models import F, Max, QuerySet

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition

TIMED_RUNS: Final = 1_000
"""The latest runs of a day of whose durations the percentiles are made."""
STEPPED_RUNS: Final = 300
"""The latest runs of whose phases the percentiles are made."""
RATE_MINUTES: Final = 15
RATE_SECONDS: Final = 30
ROWS: Final = 12
"""Agents or phases in a table of durations."""


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Of an agent's runs or of a phase; in seconds."""

    name: str
    count: int
    p50: float
    p95: float


def read_latest_runs(now: datetime) -> list[tuple[int, str, float]]:
    """Key, agent and duration in seconds of the runs that ended last. One query."""
    rows = ended_lately(now).filter(started_at__isnull=False).order_by("-completed_at")
    times: Any = rows.values_list("pk", "agent_name", "started_at", "completed_at")[:TIMED_RUNS]
    return [(pk, agent, (completed - started).total_seconds()) for pk, agent, started, completed in times]


def ended_lately(now: datetime) -> QuerySet[AgentExecution]:
    return AgentExecution.objects.filter(completed_at__gte=now - timedelta(days=1))


def read_phases(keys: Sequence[int]) -> list[Durations]:
    """Of the first STEPPED_RUNS of them. One query."""
    steps = PhaseTransition.objects.filter(execution__in=keys[:STEPPED_RUNS]).order_by()
    rows = steps.values_list("from_phase", F("duration_ms") / 1_000.0)
    return durations((phase.replace("_", " "), took) for phase, took in rows)


def durations(taken: Iterable[tuple[str, float]]) -> list[Durations]:
    """The percentiles of each name's seconds, those that take longest first."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, seconds in taken:
        by_name[name].append(seconds)
    found = [
        Durations(name=name, count=len(all_), p50=percentile(all_, 0.5), p95=percentile(all_, 0.95))
        for name, all_ in by_name.items()
    ]
    return sorted(found, key=lambda each: each.p95, reverse=True)[:ROWS]


def percentile(seconds: Iterable[float], share: float) -> float:
    """The least of them that so large a share of all does not exceed."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def read_rates(now: datetime) -> list[float]:
    """Events per second in each RATE_SECONDS of the last RATE_MINUTES, the latest last. Two queries.

    Events are numbered as they are written, so the times of some of them say how many there were in between: the
    farther back, the fewer are looked at.
    """
    last = ExecutionEvent.objects.aggregate(last=Max("pk"))["last"]
    if last is None:
        return [0.0] * (RATE_MINUTES * 60 // RATE_SECONDS)
    probes = {max(1, last + 1 - round(1.08**power)) for power in range(240)}
    seen = ExecutionEvent.objects.filter(pk__in=probes).order_by("pk").values_list("at", "pk")
    curve = [((at - now).total_seconds(), float(pk)) for at, pk in seen]
    bounds = [float(second) for second in range(-60 * RATE_MINUTES, 1, RATE_SECONDS)]
    counts = [number_at(curve, bound) for bound in bounds]
    return [max(0.0, after - before) / RATE_SECONDS for before, after in pairwise(counts)]


def number_at(curve: Sequence[tuple[float, float]], moment: float) -> float:
    """How many events had been written by then, between the two that are known."""
    if moment <= curve[0][0]:
        return curve[0][1]
    for (before, low), (after, high) in pairwise(curve):
        if before <= moment < after:
            return low + (high - low) * (moment - before) / (after - before)
    return curve[-1][1]
