"""A user's threads: listed, searched, renamed, and deleted with their runs. Sync; every query starts from the user."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Count, Max, Q

from agents.errors import Busy, InvalidCursor, InvalidMessage, NotFound
from agents.ids import Prefix, is_id
from agents.models import LIVE_STATUSES, AgentExecution, Thread
from agents.redaction import redact
from agents.runs import RunRequest

TITLE_CHARACTERS = 120


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run without its events, which are in the log."""

    run_id: str
    parent_run_id: str | None
    agent_name: str
    message: str
    params: Any
    status: str
    created_at: datetime
    last_seq: int


class ThreadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """`live` counts the runs that have not ended, `last_run_at` is when the latest was asked for."""

    thread_id: str
    title: str
    created_at: datetime
    last_run_at: datetime
    last_status: str
    live: int


class ThreadPage(msgspec.Struct, frozen=True, kw_only=True):
    """Latest first; `next` is the `before` of the next page, None on the last."""

    threads: list[ThreadSummary]
    next: str | None


class ThreadDetail(msgspec.Struct, frozen=True, kw_only=True):
    """The thread's latest runs, oldest first, with the runs that these started; `next` as in ThreadPage."""

    thread_id: str
    title: str
    created_at: datetime
    runs: list[RunSummary]
    next: str | None


def list_threads(user_id: int, *, search: str = "", before: str | None = None, limit: int = 50) -> ThreadPage:
    """Threads by their latest run; `search`: only those with this text in their title."""
    threads = Thread.objects.filter(user_id=user_id, title__icontains=search.replace("\0", "").strip())
    threads = threads.annotate(
        last_run=Max("runs"), live=Count("runs", filter=Q(runs__status__in=LIVE_STATUSES))
    ).filter(last_run__isnull=False)
    if before is not None:
        threads = threads.filter(last_run__lt=_own_run(user_id, before).pk)
    found = list(threads.order_by("-last_run")[: limit + 1])
    runs = AgentExecution.objects.only("run_id", "status", "created_at").in_bulk(
        [thread.last_run for thread in found[:limit]]
    )
    page = [_summary(thread, runs[thread.last_run], thread.live) for thread in found[:limit]]
    return ThreadPage(threads=page, next=runs[found[limit - 1].last_run].run_id if len(found) > limit else None)


def read_thread(user_id: int, thread_id: str, *, before: str | None = None, limit: int = 10) -> ThreadDetail:
    """Raises NotFound."""
    thread = _own_thread(user_id, thread_id)
    runs = AgentExecution.objects.filter(thread=thread, parent__isnull=True)
    if before is not None:
        runs = runs.filter(pk__lt=_own_run(user_id, before).pk)
    found = list(runs.order_by("-pk")[: limit + 1])
    page = found[:limit]
    generation = page
    while generation:
        generation = list(AgentExecution.objects.filter(parent__in=generation))
        page = page + generation
    names = {run.pk: run.run_id for run in page}
    return ThreadDetail(
        thread_id=thread.thread_id,
        title=thread.title,
        created_at=thread.created_at,
        runs=[_run_summary(run, names) for run in sorted(page, key=lambda run: run.pk)],
        next=found[limit - 1].run_id if len(found) > limit else None,
    )


def rename_thread(user_id: int, thread_id: str, title: str) -> str:
    """Returns the title as it is kept: on one line, without surrounding space. Raises NotFound, InvalidMessage."""
    kept = " ".join(title.replace("\0", "").split())
    if not kept:
        raise InvalidMessage("A title has at least one visible character.", field="title")
    if len(kept) > TITLE_CHARACTERS:
        raise InvalidMessage(
            f"A title has at most {TITLE_CHARACTERS} characters; this one has {len(kept)}.", field="title"
        )
    thread = _own_thread(user_id, thread_id)
    Thread.objects.filter(pk=thread.pk).update(title=kept)
    return kept


@transaction.atomic
def delete_thread(user_id: int, thread_id: str) -> None:
    """With its runs and their events, for good. Raises NotFound, and Busy while a run in it has not ended.

    The lock keeps a new run out: it either comes first, and is seen here, or finds no thread.
    """
    thread = _own_thread(user_id, thread_id, lock=True)
    if AgentExecution.objects.live().filter(thread=thread).exists():
        raise Busy("A run in this thread has not ended. Cancel it, or wait for it, and delete the thread then.")
    thread.delete()


def _own_thread(user_id: int, thread_id: str, *, lock: bool = False) -> Thread:
    threads = Thread.objects.select_for_update() if lock else Thread.objects.all()
    thread = None
    if is_id(thread_id, Prefix.THREAD):
        thread = threads.filter(user_id=user_id, thread_id=thread_id).first()
    if thread is None:
        raise NotFound("You have no thread with this thread_id.", field="thread_id")
    return thread


def _own_run(user_id: int, run_id: str) -> AgentExecution:
    run = AgentExecution.objects.for_user(user_id).filter(run_id=run_id).first() if is_id(run_id, Prefix.RUN) else None
    if run is None:
        raise InvalidCursor("before is the `next` of an earlier page.", field="before")
    return run


def _summary(thread: Thread, last_run: AgentExecution, live: int) -> ThreadSummary:
    return ThreadSummary(
        thread_id=thread.thread_id,
        title=thread.title,
        created_at=thread.created_at,
        last_run_at=last_run.created_at,
        last_status=last_run.status,
        live=live,
    )


def _run_summary(run: AgentExecution, names: dict[int, str]) -> RunSummary:
    request = msgspec.json.decode(run.request, type=RunRequest)
    return RunSummary(
        run_id=run.run_id,
        parent_run_id=names.get(run.parent_id) if run.parent_id else None,
        agent_name=run.agent_name,
        message=request.message,
        params=redact(request.params),
        status=run.status,
        created_at=run.created_at,
        last_seq=run.last_seq,
    )
