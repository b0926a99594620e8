"""What consumers read of the log and of runs' heads, always starting from the user. Sync; each a query or two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

import msgspec
from django.db import connection
from django.db.models import Q

from agents.events import Problem
from agents.ids import Prefix, is_id
from agents.models import AgentExecution
from agents.runs import RunRequest
from notifications.protocol import LiveRun, PhaseStep, RunSnapshot

USERS_IN_ONE_QUERY = 5_000
READ_CHARACTERS = 100_000
"""About as much of a log is in memory at once, for one socket: what is sent at once."""

# PostgreSQL would take a round trip for every few rows of a cursor of its own; so it is told when to end.
_EVENTS_SQL = """
    SELECT seq, frame
    FROM (
        SELECT seq, frame, SUM(LENGTH(frame)) OVER (ORDER BY seq) - LENGTH(frame) AS characters_before
        FROM (
            SELECT event.seq, event.frame
            FROM agents_executionevent event JOIN agents_agentexecution run ON run.id = event.execution_id
            WHERE run.run_id = %s AND run.user_id = %s AND event.seq > %s
            ORDER BY event.seq LIMIT %s
        ) AS next
    ) AS counted
    WHERE characters_before < %s
    ORDER BY seq
"""


def read_runs(user_id: int, ended_since: datetime) -> tuple[list[LiveRun], dict[str, int]]:
    """A user's live runs, and the heads of these and of the runs that ended since then."""
    columns = ("run_id", "thread__thread_id", "agent_name", "status", "phase", "last_seq", "completed_at")
    recent = Q(completed_at__gte=ended_since) | Q(completed_at__isnull=True)
    rows = list(AgentExecution.objects.for_user(user_id).filter(recent).order_by("pk").values_list(*columns))
    live = [
        LiveRun(run_id=run_id, thread_id=thread_id, agent_name=agent, status=status, phase=phase, last_seq=head)
        for run_id, thread_id, agent, status, phase, head, completed_at in rows
        if completed_at is None
    ]
    return live, {row[0]: row[5] for row in rows}


def read_heads(
    user_ids: Collection[int], ended_since: datetime, live_before: Collection[str] = ()
) -> tuple[dict[int, dict[str, int]], set[str]]:
    """The heads, by user, of all live runs of these users, of those that ended since then, and of those that were live
    when one last looked: what a worker could not commit for a while ended earlier than it is seen. And which are live.
    """
    heads: dict[int, dict[str, int]] = defaultdict(dict)
    live: set[str] = set()
    ids = sorted(user_ids)
    recent = Q(completed_at__gte=ended_since) | Q(completed_at__isnull=True)

    def read(which: Q) -> None:
        runs = AgentExecution.objects.filter(which).order_by()
        for user_id, run_id, head, completed_at in runs.values_list("user_id", "run_id", "last_seq", "completed_at"):
            heads[user_id][run_id] = head
            if completed_at is None:
                live.add(run_id)

    for start in range(0, len(ids), USERS_IN_ONE_QUERY):
        read(recent & Q(user_id__in=ids[start : start + USERS_IN_ONE_QUERY]))
    if missing := set(live_before).difference(*heads.values()):
        read(Q(run_id__in=missing, user_id__in=ids))
    return heads, live


def read_heads_of(user_id: int, run_ids: Collection[str]) -> dict[str, int]:
    """The heads of those of the runs that are this user's."""
    known = [run_id for run_id in run_ids if is_id(run_id, Prefix.RUN)]
    return dict(AgentExecution.objects.for_user(user_id).filter(run_id__in=known).values_list("run_id", "last_seq"))


def read_events(user_id: int, run_id: str, after: int, limit: int) -> list[tuple[int, str]]:
    """Up to `limit` events (seq, frame) of a user's run, from seq `after` + 1 on; fewer if they are large."""
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS_SQL, [run_id, user_id, after, limit, READ_CHARACTERS])
        rows: list[tuple[int, str]] = cursor.fetchall()
        return rows


def read_snapshot(user_id: int, run_id: str) -> RunSnapshot:
    """A user's run as its record shows it. Raises AgentExecution.DoesNotExist."""
    run = AgentExecution.objects.for_user(user_id).select_related("thread", "parent").get(run_id=run_id)
    return RunSnapshot(
        run_id=run.run_id,
        thread_id=run.thread.thread_id,
        parent_run_id=run.parent.run_id if run.parent else None,
        agent_name=run.agent_name,
        message=msgspec.json.decode(run.request, type=RunRequest).message,
        status=run.status,
        phase=run.phase,
        attempt=run.attempt,
        last_seq=run.last_seq,
        created_at=run.created_at,
        started_at=run.started_at,
        completed_at=run.completed_at,
        result=msgspec.json.decode(run.result) if run.result else None,
        error=Problem(run.error_code, run.error_message) if run.error_code else None,
        phases=[
            PhaseStep(
                from_phase=step.from_phase,
                to_phase=step.to_phase,
                at=step.at,
                duration_ms=step.duration_ms,
                event_seq=step.event_seq,
            )
            for step in run.transitions.all()
        ],
    )
