"""Runs that should have agent_completed by now: for `manage.py check_runs` and for the webhook."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from django.db.models import Count

from agents.models import AgentExecution
from netra.console.why import Reason, explained, frozen, why
from netra.console.workers import read_workers

TOLD: Final = 20
"""Runs that are told of one by one, the oldest first."""


class OverdueRun(msgspec.Struct, frozen=True, kw_only=True):
    """`age` in seconds. Whose it is and what they asked is for those to see who may open the console."""

    run_id: str
    agent_name: str
    age: float
    reason: Reason
    why: str


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    reasons: dict[Reason, int]
    runs: Sequence[OverdueRun]


def read_overdue(now: datetime, *, older_than: float, only_frozen: bool = False) -> Overdue:
    """Runs that lack agent_completed for more than `older_than` seconds; `only_frozen`: of these, those that do not
    move. One query when there is none, else three."""
    old = AgentExecution.objects.lacking_completion().filter(created_at__lt=now - timedelta(seconds=older_than))
    runs = explained(old, now)
    runs = frozen(runs, now) if only_frozen else runs
    counted = runs.order_by().values("reason").annotate(count=Count("pk"))
    reasons = {Reason(row["reason"]): row["count"] for row in counted}
    told = []
    if reasons:
        workers = read_workers(now)
        for run in runs.defer("request", "result", "warnings").order_by("created_at", "pk")[:TOLD]:
            found = why(run, workers, now)
            assert found is not None
            age = round((now - run.created_at).total_seconds(), 1)
            told.append(
                OverdueRun(run_id=run.run_id, agent_name=run.agent_name, age=age, reason=found.reason, why=found.words)
            )
    return Overdue(count=sum(reasons.values()), reasons=reasons, runs=told)
