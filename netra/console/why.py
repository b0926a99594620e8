"""Why a run lacks agent_completed: one answer for the list of runs, a run's page, the dashboard and the alerts.

The database decides, by `explained`, so that runs can be counted and filtered by their reason; `why` finds the words.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.conf import settings
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, TextChoices, Value, When
from django.db.models.functions import Coalesce

from agents.leases import EXPIRED
from agents.models import AgentExecution
from netra.console.words import spell
from netra.console.workers import Workers

PATIENCE: Final = timedelta(seconds=10)
"""After so long without a sign, whoever looks at a chat takes it for frozen."""


class Reason(TextChoices):
    LEASE_EXPIRED = "lease_expired", "lease expired"
    """Its worker has let go of it or died, and no other has taken it over yet."""
    CANCEL_PENDING = "cancel_pending", "cancel pending"
    """Somebody wants it cancelled, or its parent has ended."""
    BEHIND = "behind", "behind another run"
    """It waits for an earlier run of its thread."""
    QUEUED = "queued", "queued"
    """No worker has taken it yet."""
    APPROVAL = "approval", "waiting for approval"
    """It waits for a person's answer."""
    CHILDREN = "children", "waiting for child runs"
    """It waits for runs that it has started itself."""
    NO_PROGRESS = "no_progress", "no progress"
    """Its worker holds it, but nothing has happened in it for PATIENCE."""
    MOVING = "moving", "running and moving"
    """All is well: it is not done yet."""


class Why(msgspec.Struct, frozen=True):
    reason: Reason
    words: str


def explained(runs: QuerySet[AgentExecution], now: datetime) -> QuerySet[Any]:
    """The runs with `reason`, a Reason's value; empty for those that have agent_completed."""
    queued = Q(status="pending", owner="")
    others = AgentExecution.objects.live()
    earlier = others.filter(thread=OuterRef("thread"), pk__lt=OuterRef("pk"), parent__isnull=True)
    is_orphan = Q(parent__isnull=False) & ~Q(Exists(others.filter(pk=OuterRef("parent_id"))))
    rules = [
        (Q(lease_expires_at__lt=now), Reason.LEASE_EXPIRED),
        (Q(cancel_requested_at__isnull=False) | is_orphan, Reason.CANCEL_PENDING),
        (queued & Q(parent__isnull=True) & Q(Exists(earlier)), Reason.BEHIND),
        (queued, Reason.QUEUED),
        (Q(phase="awaiting_approval"), Reason.APPROVAL),
        (Q(moved_at__gte=now - PATIENCE), Reason.MOVING),
        (Q(Exists(others.filter(parent=OuterRef("pk")))), Reason.CHILDREN),
    ]
    return runs.annotate(
        moved_at=Coalesce("last_progress_at", "created_at"),
        reason=Case(
            When(completed_seq__isnull=False, then=Value("")),
            *(When(rule, then=Value(reason.value)) for rule, reason in rules),
            default=Value(Reason.NO_PROGRESS.value),
        ),
    )


def frozen(runs: QuerySet[Any], now: datetime) -> QuerySet[Any]:
    """Those of the `explained` runs in front of which their users wait for nothing that is under way."""
    late = now - PATIENCE
    return runs.filter(
        Q(reason__in=(Reason.LEASE_EXPIRED.value, Reason.NO_PROGRESS.value))
        | Q(reason=Reason.QUEUED.value, created_at__lt=late)
        | Q(reason=Reason.CANCEL_PENDING.value, cancel_requested_at__lt=late)
        | Q(reason=Reason.CANCEL_PENDING.value, cancel_requested_at__isnull=True, moved_at__lt=late),
        completed_seq__isnull=True,
    )


class Standing(msgspec.Struct, frozen=True):
    """What is counted of an `explained` run; its fields are the columns."""

    pk: int
    user_id: int
    reason: str
    created_at: datetime
    moved_at: datetime
    cancel_requested_at: datetime | None

    def is_frozen(self, now: datetime) -> bool:
        """As `frozen`, of a run that has been read: to ask the database for each number would take it ten times as
        long as to find the reasons once."""
        late = now - PATIENCE
        match self.reason:
            case Reason.LEASE_EXPIRED | Reason.NO_PROGRESS:
                return True
            case Reason.QUEUED:
                return self.created_at < late
            case Reason.CANCEL_PENDING:
                return (self.cancel_requested_at or self.moved_at) < late
            case _:
                return False


def why(run: AgentExecution, workers: Workers, now: datetime) -> Why | None:
    """Why a run that `explained` has found lacks agent_completed; None: it has it."""
    found: str = getattr(run, "reason")  # noqa: B009 - of `explained`, which the type checker does not see
    if not found:
        return None
    reason = Reason(found)
    return Why(reason, _WORDS[reason](_Teller(run, workers, now)))


class _Teller(msgspec.Struct, frozen=True):
    """Finds the words for one run."""

    run: AgentExecution
    workers: Workers
    now: datetime

    def lease_expired(self) -> str:
        run, worker = self.run, self.workers.get(self.run.owner)
        if run.lease_expires_at == EXPIRED:
            by = f"given up by worker {self._worker}" if run.owner else "handed over by an operator"
            return f"{by}, the next one is to take it"
        if worker is not None and worker.is_there:
            return f"lease ran out {self._since(run.lease_expires_at)} ago, though worker {self._worker} is there"
        held_until = run.lease_expires_at or self.now
        unheard = (self.now - held_until).total_seconds() + settings.NETRA_LEASE_SECONDS
        return f"no heartbeat for {spell(worker.silence if worker else unheard)}, worker {self._worker} gone"

    def cancel_pending(self) -> str:
        if self.run.cancel_requested_at is None:
            return f"to be cancelled, as its parent has ended; {self._holder}"
        return f"cancel asked for {self._since(self.run.cancel_requested_at)} ago; {self._holder}"

    def behind(self) -> str:
        return f"{self._queued}, behind an earlier run of its thread"

    def queued(self) -> str:
        takers = [worker for worker in self.workers.values() if worker.is_there and worker.is_accepting]
        if not takers:
            return f"{self._queued}, and no worker takes runs"
        if all(worker.running >= worker.capacity for worker in takers):
            return f"{self._queued}: all {sum(worker.capacity for worker in takers):,} places of the workers are taken"
        return self._queued

    def approval(self) -> str:
        return f"waiting for approval for {self._still}"

    def children(self) -> str:
        return f"waiting for its child runs for {self._still}"

    def no_progress(self) -> str:
        return f"no progress for {self._still} in {self._phase}; {self._holder}"

    def moving(self) -> str:
        return f"{self._phase}, moved {self._still} ago"

    def _since(self, moment: datetime | None) -> str:
        return spell((self.now - moment).total_seconds()) if moment is not None else "an unknown time"

    @property
    def _still(self) -> str:
        return self._since(self.run.last_progress_at or self.run.created_at)

    @property
    def _queued(self) -> str:
        return f"queued for {self._since(self.run.created_at)}"

    @property
    def _phase(self) -> str:
        return self.run.phase.replace("_", " ")

    @property
    def _worker(self) -> str:
        worker = self.workers.get(self.run.owner)
        return worker.name if worker is not None else self.run.owner

    @property
    def _holder(self) -> str:
        return f"worker {self._worker} has it" if self.run.owner else "no worker has it"


_WORDS: Final = {
    Reason.LEASE_EXPIRED: _Teller.lease_expired,
    Reason.CANCEL_PENDING: _Teller.cancel_pending,
    Reason.BEHIND: _Teller.behind,
    Reason.QUEUED: _Teller.queued,
    Reason.APPROVAL: _Teller.approval,
    Reason.CHILDREN: _Teller.children,
    Reason.NO_PROGRESS: _Teller.no_progress,
    Reason.MOVING: _Teller.moving,
}
