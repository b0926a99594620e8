"""How many runs are not over, and since when: one query, over the index of the runs' ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from django.db.models import Count, Min, Q

from agents.models import AgentExecution

AGES: Final = (0, 60, 300, 900, 3600)


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of runs, times in seconds. `older_than` has, for each of AGES, the runs without agent_completed."""

    pending: int
    running: int
    waiting: int
    longest_wait: float
    older_than: dict[int, int]


def read_census(now: datetime) -> Census:
    # A run has no time of its end exactly while it has no agent_completed: execution_ended_iff_completed.
    live = AgentExecution.objects.filter(completed_at__isnull=True).order_by()
    waiting = Q(status="pending", owner="")
    found = live.aggregate(
        pending=Count("pk", filter=Q(status="pending")),
        running=Count("pk", filter=Q(status="running")),
        waiting=Count("pk", filter=waiting),
        since=Min("created_at", filter=waiting),
        **{f"older_{age}": Count("pk", filter=Q(created_at__lte=now - timedelta(seconds=age))) for age in AGES},
    )
    return Census(
        pending=found["pending"],
        running=found["running"],
        waiting=found["waiting"],
        longest_wait=max(0.0, (now - found["since"]).total_seconds()) if found["since"] else 0.0,
        older_than={age: found[f"older_{age}"] for age in AGES},
    )
