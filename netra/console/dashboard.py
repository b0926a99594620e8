"""The figures of the console's first page. Each is served by an index, over a window or a sample that is bounded.

So the page costs the same with a thousand runs and with a million; what was left out of a figure, it says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db.models import Count, Min, Q, QuerySet

from agents.models import AgentExecution
from agents.phases import TERMINAL, Status
from netra.console.pace import Durations, durations, ended_lately, read_latest_runs, read_phases, read_rates
from netra.console.why import PATIENCE, Reason, Standing, explained, why
from netra.console.workers import Workers, WorkerView, read_workers
from netra.health import Report, report_of_process
from notifications.presence import ProcessView, processes_with_sockets

AGES: Final = {
    "": timedelta(0),
    "10s": PATIENCE,
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "1h": timedelta(hours=1),
}
"""As the list's filter by age names them."""
LOOKED_AT: Final = 5_000
"""Runs without agent_completed that are looked at, the oldest first."""
STUCK_SHOWN: Final = 8
LARGE: Final = ("request", "result", "warnings")
ENDED_COUNTED: Final = 10_000
"""The latest ends of a day that are counted by outcome."""


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True):
    """Runs with one reason; `ages` are the numbers of those older than each of AGES."""

    reason: Reason
    ages: Sequence[int]
    frozen: int

    @property
    def count(self) -> int:
        return self.ages[0]


class StuckRun(msgspec.Struct, frozen=True, kw_only=True):
    pk: int
    run_id: str
    user: str
    agent: str
    reason: Reason
    words: str
    age: float


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that lack agent_completed, and who waits in vain for some of them."""

    reasons: Sequence[ReasonCount]
    people: int
    stuck: Sequence[StuckRun]

    @property
    def count(self) -> int:
        return sum(each.count for each in self.reasons)

    @property
    def frozen(self) -> int:
        return sum(each.frozen for each in self.reasons)

    @property
    def is_cut(self) -> bool:
        return self.count >= LOOKED_AT

    @property
    def headline(self) -> str:
        """The answer to the one question of whoever is on call."""
        if not self.frozen:
            return "No one is waiting."
        people = "1 person waits" if self.people == 1 else f"{self.people:,} people wait"
        return f"{people} on {'a run that does' if self.frozen == 1 else f'{self.frozen:,} runs that do'} not move."

    @property
    def subline(self) -> str:
        if not self.count:
            return "No run is under way."
        others = self.count - self.frozen
        runs = "1 run is" if others == 1 else f"{others:,} runs are"
        beside = "besides" if self.frozen else "and all is well with them" if others > 1 else "and all is well with it"
        return f"{runs} under way, {beside}." if others else "No other run is under way."


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Runs by how they ended, in the last hour and day. `since`: the day's are only those that ended after it."""

    hour: dict[Status, int]
    day: dict[Status, int]
    since: datetime | None


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What one owner holds of the runs that have not ended; `worker` None: nobody of that name is known any more."""

    owner: str
    worker: WorkerView | None
    held: int
    expired: int


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    now: datetime
    waiting: Waiting
    outcomes: Outcomes
    agents: Sequence[Durations]
    phases: Sequence[Durations]
    rates: Sequence[float]
    leases: Sequence[Lease]
    processes: Sequence[ProcessView]
    health: Report | None

    @property
    def sockets(self) -> int:
        return sum(process.sockets for process in self.processes)


def read_dashboard(now: datetime) -> Dashboard:
    workers = read_workers(now)
    latest = read_latest_runs(now)
    return Dashboard(
        now=now,
        waiting=read_waiting(now, workers),
        outcomes=read_outcomes(now),
        agents=durations((agent, took) for _, agent, took in latest),
        phases=read_phases([pk for pk, _, _ in latest]),
        rates=read_rates(now),
        leases=read_leases(now, workers),
        processes=processes_with_sockets(now),
        health=report_of_process(),
    )


def read_waiting(now: datetime, workers: Workers) -> Waiting:
    """One query, and another one when somebody waits in vain."""
    runs = explained(AgentExecution.objects.all(), now)
    columns = Standing.__struct_fields__
    all_ = [Standing(*row) for row in runs.filter(pk__in=_lacking()).order_by("pk").values_list(*columns)]
    in_vain = [run for run in all_ if run.is_frozen(now)]
    return Waiting(
        reasons=_count(all_, in_vain, now),
        people=len({run.user_id for run in in_vain}),
        stuck=_read_stuck(runs, in_vain, workers, now),
    )


def _count(all_: Sequence[Standing], in_vain: Sequence[Standing], now: datetime) -> list[ReasonCount]:
    ages: dict[str, list[float]] = defaultdict(list)
    for run in all_:
        ages[run.reason].append((now - run.created_at).total_seconds())
    frozen = Counter(run.reason for run in in_vain)
    return [
        ReasonCount(
            reason=reason,
            ages=[sum(age >= least.total_seconds() for age in ages[reason.value]) for least in AGES.values()],
            frozen=frozen[reason.value],
        )
        for reason in Reason
        if reason.value in ages
    ]


def _read_stuck(runs: QuerySet[Any], in_vain: Sequence[Standing], workers: Workers, now: datetime) -> list[StuckRun]:
    if not in_vain:
        return []
    longest = sorted(in_vain, key=lambda run: run.created_at)[:STUCK_SHOWN]
    found = runs.filter(pk__in=[run.pk for run in longest]).select_related("user").defer(*LARGE)
    return [_stuck(run, now, workers) for run in found.order_by("created_at", "pk") if run.reason]


def _lacking() -> QuerySet[Any]:
    return AgentExecution.objects.lacking_completion().order_by("pk").values("pk")[:LOOKED_AT]


def _stuck(run: AgentExecution, now: datetime, workers: Workers) -> StuckRun:
    found = why(run, workers, now)
    assert found is not None
    return StuckRun(
        pk=run.pk,
        run_id=run.run_id,
        user=str(run.user),
        agent=run.agent_name,
        reason=found.reason,
        words=found.words,
        age=(now - run.created_at).total_seconds(),
    )


def read_outcomes(now: datetime) -> Outcomes:
    """One query."""
    hour = Q(completed_at__gte=now - timedelta(hours=1))
    latest = ended_lately(now).order_by("-completed_at").values("pk")[:ENDED_COUNTED]
    rows = (
        AgentExecution.objects.filter(pk__in=latest)
        .order_by()
        .values("status")
        .annotate(day=Count("pk"), hour=Count("pk", filter=hour), since=Min("completed_at"))
    )
    found = {row["status"]: row for row in rows}
    ends = [Status(status) for status in Status if status.value in {phase.value for phase in TERMINAL}]
    is_cut = sum(row["day"] for row in found.values()) >= ENDED_COUNTED
    return Outcomes(
        hour={status: found[status]["hour"] if status in found else 0 for status in ends},
        day={status: found[status]["day"] if status in found else 0 for status in ends},
        since=min(row["since"] for row in found.values()) if is_cut else None,
    )


def read_leases(now: datetime, workers: Workers) -> list[Lease]:
    """Who holds runs, and every worker that is known. One query."""
    runs = AgentExecution.objects.filter(pk__in=_lacking()).exclude(owner="").order_by().values("owner")
    expired = Count("pk", filter=Q(lease_expires_at__lt=now))
    rows = runs.annotate(held=Count("pk"), expired=expired).values_list("owner", "held", "expired")
    found = {owner: (held, overdue) for owner, held, overdue in rows}
    leases = []
    for owner in {**workers, **found}:
        held, overdue = found.get(owner, (0, 0))
        leases.append(Lease(owner=owner, worker=workers.get(owner), held=held, expired=overdue))
    return sorted(leases, key=lambda lease: (lease.worker is not None and lease.worker.is_there, -lease.expired))
