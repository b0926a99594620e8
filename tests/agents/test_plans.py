"""What PostgreSQL does to answer Netra's questions: it finds rows by an index, however many runs there have been."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import breaker, leases, progress, pruning, registration
from agents.events import Frame
from agents.models import AgentExecution
from agents.phases import AgentExecutionPhase, Status
from agents.runs import RunState, RunWrite
from agents.transactions import commit
from netra.console.why import Reason
from netra.generated_runs import Plan, generate
from notifications import log
from tests.runs import make_terms, register_run

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

RUNS: Final = int(os.environ.get("NETRA_TEST_HISTORY_RUNS", "20000"))
BIG: Final = ("agents_agentexecution", "agents_executionevent", "agents_phasetransition", "agents_thread")
AGENTS: Final = [f"agent-{number}" for number in range(20)]
LEASE: Final = timedelta(seconds=6)


@pytest.fixture(scope="module")
def history(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        now = datetime.now(UTC)
        begin = now - timedelta(days=2)
        list(generate(Plan(runs=RUNS, events=10, live=500, agents=AGENTS, begin=begin, now=now)))
        yield
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(BIG)}, auth_user CASCADE")


@pytest.fixture(autouse=True)
def always_there(history: None, db: None) -> None:
    """Each test asks in a transaction that is rolled back."""


def last_runs(status: str, count: int = 5) -> list[AgentExecution]:
    return list(AgentExecution.objects.filter(status=status).order_by("-pk")[:count])


def commit_events() -> None:
    now = datetime.now(UTC)
    commit([write(run, now) for run in last_runs("running")])


def write(execution: AgentExecution, now: datetime) -> RunWrite:
    [claim] = leases._take(AgentExecution.objects.filter(pk=execution.pk), owner="w", now=now, lease=LEASE)
    seq = claim.state.last_seq
    after = RunState(
        phase=AgentExecutionPhase.THINKING,
        last_seq=seq + 1,
        phase_count=claim.state.phase_count,
        phase_entered_at=now,
        last_progress_at=now,
        started_at=now,
    )
    frames = [Frame(seq=seq + 1, type="agent_thinking", text="{}", at=now)]
    return RunWrite(
        run=claim.run,
        expected_seq=seq,
        expected_phase_count=after.phase_count,
        state=after,
        frames=frames,
        transitions=[],
    )


def ask_breaker() -> None:
    settings = breaker.Breaker(failures=5, window=60.0, cooldown=30.0)
    breaker.require_available("agent-0", breaker=settings, whole_times={"free": 40.0})


def visit(path: str) -> None:
    admin = get_user_model().objects.create_superuser("root")
    client = Client(headers={"host": "localhost"})
    client.force_login(admin)
    answer = client.get(f"/admin/agents/agentexecution/{path}", follow=True)
    assert answer.status_code == 200, answer.content[-500:]


def soon() -> datetime:
    return datetime.now(UTC)


def newest() -> AgentExecution:
    return last_runs(Status.COMPLETED, 1)[0]


ASK: Final[dict[str, Callable[[], Any]]] = {
    "a commit of events": commit_events,
    "a claim of waiting runs": lambda: leases.claim_pending(owner="w", slots=50, per_user=20, lease=LEASE),
    "the watchdog: stalled runs": lambda: leases.claim_stalled(
        owner="w", slots=50, lease=LEASE, now=soon() + timedelta(hours=2)
    ),
    "the renewal of leases": lambda: leases.renew(
        owner="worker_1", keys=[run.pk for run in last_runs("running", 50)], lease=LEASE
    ),
    "the release of leases": lambda: leases.release(owner="worker_1"),
    "what earlier attempts left": lambda: progress.read_progress(newest().pk),
    "a new run": lambda: register_run(newest().user_id, terms=make_terms(live_limit=10**6)),
    "the wish to cancel": lambda: registration.request_cancel(user_id=None, run_id=newest().run_id, now=soon()),
    "the circuit breaker": ask_breaker,
    "a socket's first look": lambda: log.read_runs(newest().user_id, soon() - timedelta(minutes=10)),
    "the heads of a process's users": lambda: log.read_heads(range(1, 40), soon() - timedelta(minutes=10)),
    "the heads of named runs": lambda: log.read_heads_of(newest().user_id, [newest().run_id]),
    "a replay": lambda: log.read_events(newest().user_id, newest().run_id, 3, 500),
    "a snapshot": lambda: log.read_snapshot(newest().user_id, newest().run_id),
    "a batch of pruning": lambda: next(pruning.prune_events(ended_before=oldest() + timedelta(minutes=5)), None),
    "the console: which runs lack agent_completed": lambda: visit("?agent_completed=lacking"),
    "the console: all runs": lambda: visit(""),
    "the console: the oldest runs": lambda: visit("?o=9"),
    "the console: a run by its id": lambda: visit(f"?q={newest().run_id}"),
    "the console: a thread's runs": lambda: visit(f"?q={newest().thread.thread_id}"),
    "the console: the runs of a correlation id": lambda: visit(f"?q={newest().correlation_id}"),
    "the console: a user's runs": lambda: visit(f"?q={newest().user}"),
    **{
        f"the console: {parameters}": partial(visit, f"?{parameters}")
        for parameters in (
            *(f"reason={reason}" for reason in ("frozen", *Reason.values)),
            *(f"status={status}" for status in Status),
            *(
                "phase=thinking",
                "phase=awaiting_approval",
                "agent_name=agent-3",
                "agent_name=nobody",
                "tier=enterprise",
            ),
            *("age=over-10s", "age=over-1h", "age=under-15m", "age=under-7d", "attempt=again"),
            *("status=failed&agent_name=agent-3", "agent_completed=lacking&age=over-1m", "agent_completed=sent"),
        )
    },
    "the console: one run": lambda: visit(f"{newest().pk}/change/"),
}


def oldest() -> datetime:
    first = AgentExecution.objects.order_by("pk").values_list("completed_at", flat=True).first()
    assert first is not None
    return first


def scans(node: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """How a plan reads which tables: (kind of scan, table, index)."""
    if "Relation Name" in node:
        yield node["Node Type"], node["Relation Name"], node.get("Index Name", "")
    for child in node.get("Plans", ()):
        yield from scans(child)


def plans(queries: list[dict[str, str]]) -> dict[str, list[tuple[str, str, str]]]:
    found = {}
    for query in queries:
        if re.match(r"SELECT|UPDATE|DELETE|WITH", query["sql"]):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (FORMAT JSON) " + query["sql"].replace("%", "%%"), [])
                plan = cursor.fetchone()[0]
            found[query["sql"]] = list(scans((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    return found


@pytest.mark.parametrize("question", list(ASK))
def test_no_large_table_is_read_whole(question):
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        ASK[question]()
    read = plans(list(asked.captured_queries))

    assert read
    whole = [sql for sql, tables in read.items() for kind, table, _ in tables if kind == "Seq Scan" and table in BIG]
    assert whole == []
