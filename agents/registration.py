"""How a request becomes a run: once per (user, request_id), in a thread of the user's own, within the limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from agents.database import lock_users
from agents.errors import Busy, LimitReached, NotFound, RequestIdReused
from agents.ids import Prefix, is_id, new_id
from agents.models import AgentExecution, Thread
from agents.notices import notice_cancel, notice_pending
from agents.runs import RunRequest

TITLE_CHARACTERS = 80


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a run from its start: limits in seconds and in live runs of its user."""

    tier: str
    timeout: float
    restartable: bool
    running_limit: int
    live_limit: int


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """`queue_position` 0: starts now; n: n live runs must end or start before. `interrupts`: those cancelled for it."""

    run_id: str
    thread_id: str
    duplicate: bool
    queue_position: int
    interrupts: list[str] = []


def register(*, user_id: int, request_id: str, request: RunRequest, terms: Callable[[], Terms]) -> Registered:
    """One transaction. `terms` is asked only for a new request, and may raise a NetraError: then there is no run.

    Raises RequestIdReused, NotFound (thread), LimitReached or Busy; the request_id then stays free.
    """
    try:
        return _register(user_id, request_id, request, terms)
    except IntegrityError:  # the same request came in twice at once: the other one has made the run
        return _register(user_id, request_id, request, terms)


@transaction.atomic
def _register(user_id: int, request_id: str, request: RunRequest, terms: Callable[[], Terms]) -> Registered:
    mine = AgentExecution.objects.for_user(user_id)
    earlier = mine.filter(request_id=stored(request_id)).select_related("thread").first()
    if earlier is not None:
        return _again(earlier, request)
    lock_users([user_id])  # or requests at once would get past the limit
    agreed = terms()
    live = AgentExecution.objects.live().for_user(user_id)
    live_count = live.count()
    if live_count >= agreed.live_limit:
        raise LimitReached(
            f"You have {live_count} runs that have not ended, the most allowed. Wait for one to end, or cancel one."
        )
    thread = _thread_for(user_id, request)
    in_thread = live.filter(thread=thread, parent__isnull=True) if request.thread_id else live.none()
    ahead = list(in_thread.order_by("pk").values_list("run_id", flat=True))
    if ahead and request.on_busy == "reject":
        raise Busy("This thread has a run that has not ended. Wait for it, cancel it, or choose another on_busy.")
    if request.on_busy == "interrupt":
        _cancel(in_thread)
        for run_id in ahead:
            notice_cancel(run_id)
    position = len(ahead) or max(0, live_count - agreed.running_limit + 1)
    execution = make_run(thread, stored(request_id), request, agreed)
    return Registered(
        run_id=execution.run_id,
        thread_id=thread.thread_id,
        duplicate=False,
        queue_position=position,
        interrupts=ahead if request.on_busy == "interrupt" else [],
    )


def _cancel(runs: QuerySet[AgentExecution]) -> None:
    unasked = runs.filter(cancel_requested_at__isnull=True).order_by("pk")
    keys = list(unasked.select_for_update(no_key=True).values_list("pk", flat=True))
    runs.filter(pk__in=keys).update(cancel_requested_at=timezone.now())


def make_run(
    thread: Thread, stored_id: str, request: RunRequest, agreed: Terms, *, parent: AgentExecution | None = None
) -> AgentExecution:
    """The one place where runs come from; `stored_id` is a request_id as the column has it."""
    execution = AgentExecution.objects.create(
        run_id=new_id(Prefix.RUN),
        thread=thread,
        user_id=thread.user_id,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        agent_name=request.agent,
        request_id=stored_id,
        request=text_of(request),
        restartable=agreed.restartable,
        tier=agreed.tier,
        timeout=agreed.timeout,
        correlation_id=parent.correlation_id if parent else new_id(Prefix.CORRELATION),
    )
    notice_pending(execution.run_id)
    return execution


def read_params(user_id: int, run_id: str) -> dict[str, Any]:
    """What a user gave to a run of theirs, secrets and all; not what an agent gave to one. Raises NotFound."""
    mine = AgentExecution.objects.for_user(user_id).filter(run_id=run_id, parent__isnull=True)
    run = mine.first() if is_id(run_id, Prefix.RUN) else None
    if run is None:
        raise NotFound("You have started no run with this run_id.", field="params_of")
    return msgspec.json.decode(run.request, type=RunRequest).params


def stored(request_id: str) -> str:
    """The client's id as a column of PostgreSQL can hold it, which takes no NUL."""
    return request_id.replace("\\", "\\\\").replace("\0", "\\0")


def text_of(request: RunRequest) -> str:
    """The same text for the same request, whatever the order of its params."""
    return msgspec.json.encode(request, order="sorted").decode()


def _again(earlier: AgentExecution, request: RunRequest) -> Registered:
    if earlier.request != text_of(request):
        raise RequestIdReused(
            f"You used this request_id for another request ({earlier.run_id}). Use a new one for each request.",
            field="request_id",
        )
    return Registered(
        run_id=earlier.run_id,
        thread_id=earlier.thread.thread_id,
        duplicate=True,
        queue_position=_position_of(earlier),
    )


def _position_of(execution: AgentExecution) -> int:
    if execution.status != "pending" or execution.owner:
        return 0
    waiting = AgentExecution.objects.for_user(execution.user_id).filter(status="pending", owner="")
    return waiting.filter(pk__lt=execution.pk).count()


def _thread_for(user_id: int, request: RunRequest) -> Thread:
    if request.thread_id is None:
        title = " ".join(request.message.replace("\0", "").split())[:TITLE_CHARACTERS]
        return Thread.objects.create(user_id=user_id, title=title)
    thread = None
    if is_id(request.thread_id, Prefix.THREAD):
        thread = Thread.objects.filter(user_id=user_id, thread_id=request.thread_id).first()
    if thread is None:
        raise NotFound("You have no thread with this thread_id.", field="thread_id")
    return thread


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    status: str


def request_cancel(*, user_id: int | None, run_id: str, now: datetime) -> CancelRequest:
    """Notes that a run is to be cancelled; harmless when it has ended. `user_id` None: an operator asks.

    Raises NotFound for unknown runs and for those of somebody else.
    """
    runs = AgentExecution.objects.all() if user_id is None else AgentExecution.objects.for_user(user_id)
    execution = runs.filter(run_id=run_id).first() if is_id(run_id, Prefix.RUN) else None
    if execution is None:
        raise NotFound("You have no run with this run_id.", field="run_id")
    AgentExecution.objects.live().filter(pk=execution.pk, cancel_requested_at__isnull=True).update(
        cancel_requested_at=now
    )
    notice_cancel(run_id)
    return CancelRequest(run_id=run_id, status=execution.status)
