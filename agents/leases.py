"""Who may write which run, and for how long: claims, renewals and takeovers, each one transaction.

A lease is a time until which a run belongs to one worker; each claim raises `attempt`, so that an older worker's
writes fit no row any more (agents.transactions). `now` defaults to when the claimer has the database's lock, not to
when it began to wait for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from agents.database import lock_free_users
from agents.errors import Fenced
from agents.models import AgentExecution, ExecutionQuerySet
from agents.phases import AgentExecutionPhase
from agents.runs import Run, RunRequest, RunState

CANCELS: Final = 100
EXPIRED: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is the claimer's from now on, until its lease runs out. `tries` are the attempts that count, this one
    included: not those that ended because their worker stopped, in good order."""

    run: Run
    tries: int
    state: RunState
    restartable: bool
    cancel_requested: bool
    deadline_at: datetime


def claim_pending(
    *, owner: str, slots: int, per_user: int, lease: timedelta, now: datetime | None = None
) -> list[Claim]:
    """Takes up to `slots` runs that wait: children first, then the oldest; no user above `per_user`, one at a time in a
    thread. Runs that themselves wait for others count nowhere, or they could take the places of those others.

    Runs that are to be cancelled are taken whatever the limits: they only have to be ended.
    """
    slots = max(0, slots)
    with transaction.atomic():
        to_end = list(_waiting().to_be_cancelled().values_list("pk", flat=True)[:CANCELS])
        picked = _pick(slots, per_user)
        if picked and connection.features.has_select_for_update:
            # Whoever holds a user holds up nobody else's runs.
            users = lock_free_users(set(picked.values()))
            # Count again: another worker may have taken runs of theirs meanwhile.
            picked = {pk: user_id for pk, user_id in _pick(slots, per_user).items() if user_id in users}
        return _take(_waiting().filter(pk__in=[*to_end, *picked]), owner=owner, now=now, lease=lease)


def claim_stalled(
    *, owner: str, slots: int, lease: timedelta, held: Collection[int] = (), now: datetime | None = None
) -> list[Claim]:
    """Takes up to `slots` runs whose worker let the lease run out; not those that the claimer `held` itself."""
    with transaction.atomic():
        now = now or timezone.now()
        stalled = AgentExecution.objects.stalled(now).exclude(pk__in=held)
        keys = stalled.order_by("lease_expires_at").values_list("pk", flat=True)[:slots]
        return _take(stalled.filter(pk__in=list(keys)), owner=owner, now=now, lease=lease)


def renew(*, owner: str, keys: Sequence[int], lease: timedelta, now: datetime | None = None) -> dict[int, bool]:
    """Prolongs the leases of these runs; returns the keys of those that are live and `owner`'s, each with "was a
    cancel asked for?". A lease that nobody works for is never prolonged."""
    with transaction.atomic():
        not_released = _held(owner, keys).exclude(lease_expires_at=EXPIRED)
        held = list(not_released.values_list("pk", flat=True))
        runs = AgentExecution.objects.filter(pk__in=held)
        runs.update(lease_expires_at=(now or timezone.now()) + lease)
        to_cancel = set(runs.to_be_cancelled().values_list("pk", flat=True))
        return {pk: pk in to_cancel for pk in held}


def release(*, owner: str, keys: Iterable[int] | None = None, in_good_order: bool = True) -> None:
    """Lets the leases of `owner`'s live runs (or of those in `keys`) run out now: they are taken over at once.

    `in_good_order`: it is not for anything that happened in them, so that it is no attempt of the few they have.
    """
    with transaction.atomic():
        held = list(_held(owner, keys).values_list("pk", flat=True))
        runs = AgentExecution.objects.filter(pk__in=held)
        runs.update(lease_expires_at=EXPIRED, handovers=F("handovers") + int(in_good_order))


def seize(run_id: str, now: datetime | None = None) -> Claim | None:
    """Takes a live run from whoever has it, who can write no more of it; None: it has ended, or there is none.

    To be called in the transaction that then writes: until its end nobody else writes or takes this run.
    """
    live = AgentExecution.objects.live().filter(run_id=run_id).select_for_update(of=("self",))
    execution = live.select_related("thread", "parent").first()
    if execution is None:
        return None
    now = now or timezone.now()
    AgentExecution.objects.filter(pk=execution.pk).update(attempt=F("attempt") + 1)
    execution.attempt += 1
    return _claim_of(execution, execution.deadline_at or now, now)


def let_go(pk: int) -> None:
    """Takes a run from its worker, for any worker to take: at once, not only when the lease is over."""
    AgentExecution.objects.filter(pk=pk).update(owner="", lease_expires_at=EXPIRED)


def require_held(run: Run) -> AgentExecution:
    """The record of a run, locked; raises Fenced unless it is live and still this attempt's."""
    held = AgentExecution.objects.live().filter(pk=run.pk, attempt=run.attempt).select_for_update(no_key=True).first()
    if held is None:
        raise Fenced(f"run {run.pk} has another writer or has ended")
    return held


def read_deadline(pk: int) -> datetime | None:
    return AgentExecution.objects.values_list("deadline_at", flat=True).get(pk=pk)


def _held(owner: str, keys: Iterable[int] | None) -> QuerySet[AgentExecution]:
    """A worker's live runs, locked in the order of their keys."""
    held = AgentExecution.objects.live().filter(owner=owner).order_by("pk").select_for_update(no_key=True)
    return held if keys is None else held.filter(pk__in=list(keys))


def _pick(slots: int, per_user: int) -> dict[int, int]:
    """The next runs to take, with their users."""
    owned = AgentExecution.objects.live().exclude(owner="").exclude(_waits_for_others()).order_by()
    running = Counter(dict(owned.values_list("user_id").annotate(count=Count("id"))))
    picked: dict[int, int] = {}
    for pk, user_id in _runnable(per_user).values_list("pk", "user_id")[: slots + sum(running.values())]:
        if len(picked) >= slots:
            break
        if running[user_id] < per_user:
            running[user_id] += 1
            picked[pk] = user_id
    return picked


def _waiting() -> ExecutionQuerySet:
    return AgentExecution.objects.filter(status="pending", owner="").order_by("pk")


def _runnable(per_user: int) -> QuerySet[AgentExecution]:
    earlier_in_thread = AgentExecution.objects.live().filter(
        thread=OuterRef("thread"), pk__lt=OuterRef("pk"), parent__isnull=True
    )
    return (
        _waiting()
        .filter(cancel_requested_at__isnull=True)
        .filter(Q(parent__isnull=False) | ~Exists(earlier_in_thread))
        .filter(Q(parent__isnull=True) | Q(parent__completed_at__isnull=True))
        .annotate(rank=Window(RowNumber(), partition_by="user_id", order_by=_CHILDREN_FIRST))
        .filter(rank__lte=per_user)
        .order_by(*_CHILDREN_FIRST)
    )


_CHILDREN_FIRST: Final = (F("parent_id").asc(nulls_last=True), F("pk").asc())
"""What has begun is brought to its end first."""


def _waits_for_others() -> Q:
    live_children = AgentExecution.objects.live().filter(parent=OuterRef("pk"))
    return Q(phase=AgentExecutionPhase.AWAITING_APPROVAL.value) | Q(Exists(live_children))


def _take(free: QuerySet[AgentExecution], *, owner: str, now: datetime | None, lease: timedelta) -> list[Claim]:
    """Counts from when they are locked: one that was made while the claimer waited would have less than its time."""
    if connection.features.has_select_for_update_skip_locked:
        free = free.select_for_update(skip_locked=True, of=("self",))
    taken = list(free.select_related("thread", "parent"))
    now = now or timezone.now()
    claims = []
    for execution in taken:
        execution.attempt += 1
        execution.owner = owner
        execution.lease_expires_at = now + lease
        execution.deadline_at = execution.deadline_at or now + timedelta(seconds=execution.timeout)
        claims.append(_claim_of(execution, execution.deadline_at, now))
    AgentExecution.objects.bulk_update(taken, ["attempt", "owner", "lease_expires_at", "deadline_at"])
    return claims


def _claim_of(execution: AgentExecution, deadline_at: datetime, now: datetime) -> Claim:
    has_lost_its_parent = execution.parent is not None and execution.parent.completed_at is not None
    last = execution.transitions.order_by("-ordinal").values_list("at", flat=True).first()
    run = Run(
        pk=execution.pk,
        run_id=execution.run_id,
        thread_id=execution.thread.thread_id,
        parent_run_id=execution.parent.run_id if execution.parent else None,
        user_id=execution.user_id,
        agent_name=execution.agent_name,
        request=msgspec.json.decode(execution.request, type=RunRequest),
        correlation_id=execution.correlation_id,
        tier=execution.tier,
        timeout=execution.timeout,
        attempt=execution.attempt,
        created_at=execution.created_at,
    )
    state = RunState(
        phase=AgentExecutionPhase(execution.phase),
        last_seq=execution.last_seq,
        phase_count=execution.phase_count,
        phase_entered_at=last or execution.created_at,
        last_progress_at=now,  # that nobody worked for the run until now is not its silence
        started_at=execution.started_at,
    )
    return Claim(
        run=run,
        tries=execution.attempt - execution.handovers,
        state=state,
        restartable=execution.restartable,
        cancel_requested=execution.cancel_requested_at is not None or has_lost_its_parent,
        deadline_at=deadline_at,
    )
