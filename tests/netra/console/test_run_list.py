from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import AgentExecution, Worker
from netra.console import run_list
from tests.runs import make_user, register_run

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_agentexecution_changelist")
QUERIES = 5
"""The session, its user, how many runs, the runs, the workers."""

Look = Callable[..., str]


@pytest.fixture
def look(client: Client) -> Look:
    """The page of the list with these parameters."""
    client.force_login(get_user_model().objects.create_superuser("op"))

    def look(**parameters: str) -> str:
        answer = client.get(LIST, parameters)
        assert answer.status_code == 200, (parameters, answer.headers)
        return answer.content.decode()

    return look


def make_run(user: int | None = None, age: float = 0, **changes: Any) -> AgentExecution:
    run_id = register_run(make_user() if user is None else user).run_id
    created_at = datetime.now(UTC) - timedelta(seconds=age)
    AgentExecution.objects.filter(run_id=run_id).update(**({"created_at": created_at} | changes))
    return AgentExecution.objects.get(run_id=run_id)


def make_held(moved: float = 0, **changes: Any) -> AgentExecution:
    """A run in its first thought, which `moved` so many seconds ago."""
    now = datetime.now(UTC)
    held: dict[str, Any] = {
        "status": "running",
        "phase": "thinking",
        "owner": "worker_1",
        "lease_expires_at": now + timedelta(hours=1),
    }
    return make_run(**(held | {"last_progress_at": now - timedelta(seconds=moved)} | changes))


def make_ended(status: str = "completed", **changes: Any) -> AgentExecution:
    end: dict[str, Any] = {
        "status": status,
        "phase": status,
        "completed_at": datetime.now(UTC),
        "last_seq": 4,
        "completed_seq": 4,
    }
    return make_run(**(end | changes))


def shown(page: str, *runs: AgentExecution) -> list[bool]:
    return [f">{run.run_id}<" in page for run in runs]


def test_the_page_asks_as_often_for_fifty_runs_as_for_one(look):
    make_held()
    with CaptureQueriesContext(connection) as for_one:
        look()
    for _ in range(20):
        make_held()
        make_ended()
    with CaptureQueriesContext(connection) as for_many:
        look()

    assert len(for_one) == len(for_many) == QUERIES, [query["sql"] for query in for_many]


@pytest.mark.parametrize(
    "parameters",
    [
        {"agent_completed": "lacking"},
        {"reason": "frozen"},
        {"status": "failed"},
        {"q": "somebody"},
        {"age": "under-1h"},
    ],
    ids=str,
)
def test_a_filter_asks_no_more_and_never_counts_all(look, parameters):
    for _ in range(3):
        make_held()
    with CaptureQueriesContext(connection) as asked:
        look(**parameters)

    assert len(asked) <= QUERIES + ("q" in parameters)
    counts = [query["sql"] for query in asked if "COUNT(" in query["sql"]]
    assert all(f"LIMIT {run_list.COUNTED}" in sql for sql in counts)


def test_beyond_a_thousand_runs_are_not_counted(look, monkeypatch):
    monkeypatch.setattr(run_list, "COUNTED", 4)
    user = make_user()
    for _ in range(3):
        make_run(user)
    assert "3 runs" in look()

    for _ in range(3):
        make_run(user)
    assert "4+ runs" in look()


def test_large_texts_are_not_read_for_the_list(look):
    make_ended(result='{"output": "much"}')
    with CaptureQueriesContext(connection) as asked:
        look()

    [runs] = [query["sql"] for query in asked if '"reason"' in query["sql"]]
    assert '"result"' not in runs
    assert '"agents_agentexecution"."request"' not in runs


def test_a_run_tells_why_it_lacks_agent_completed_and_how_far_it_is(look):
    now = datetime.now(UTC)
    Worker.objects.create(
        owner="worker_1", host="web-1", pid=7, started_at=now, seen_at=now, capacity=4, running=1, accepting=True
    )
    make_held(42, deadline_at=now + timedelta(seconds=10), last_seq=3)
    make_ended()

    page = look()

    assert "no progress for 42 s in thinking; worker web-1:7 has it" in page
    assert '3 events <progress max="40" value="30">30 s of 40 s</progress>' in page
    assert "4 events</td>" in page


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"agent_completed": "lacking"}, "queued moving still expired"),
        ({"agent_completed": "sent"}, "done failed again"),
        ({"reason": "queued"}, "queued"),
        ({"reason": "moving"}, "moving"),
        ({"reason": "no_progress"}, "still"),
        ({"reason": "lease_expired"}, "expired"),
        ({"reason": "frozen"}, "still expired"),
        ({"reason": "nonsense"}, ""),
        ({"age": "over-1m"}, "expired again"),
        ({"age": "over-1h"}, "again"),
        ({"age": "under-15m"}, "queued moving still expired done failed"),
        ({"age": "over-nonsense"}, "queued moving still expired done failed again"),
        ({"status": "pending"}, "queued"),
        ({"status": "running"}, "moving still expired"),
        ({"status": "failed"}, "failed again"),
        ({"phase": "thinking"}, "moving still"),
        ({"phase": "tool_execution"}, "expired"),
        ({"agent_name": "test"}, "queued moving still expired done failed again"),
        ({"tier": "enterprise"}, "done"),
        ({"attempt": "again"}, "again"),
        ({"status": "failed", "age": "over-1h"}, "again"),
    ],
    ids=str,
)
def test_filters(look, parameters, expected):
    past = datetime.now(UTC) - timedelta(seconds=9)
    runs = {
        "queued": make_run(),
        "moving": make_held(),
        "still": make_held(20),
        "expired": make_held(phase="tool_execution", lease_expires_at=past, age=100),
        "done": make_ended(tier="enterprise"),
        "failed": make_ended("failed"),
        "again": make_ended("failed", attempt=2, age=4_000),
    }

    page = look(**parameters)

    found = [name for name, is_shown in zip(runs, shown(page, *runs.values()), strict=True) if is_shown]
    assert found == expected.split()


def test_a_run_is_found_by_its_ids_and_by_its_user(look):
    run, other = make_run(make_user("ada")), make_run()

    for term in (run.run_id, run.thread.thread_id, run.correlation_id, "ada", "  ada "):
        assert shown(look(q=term), run, other) == [True, False], term
    assert shown(look(q="nobody"), run, other) == [False, False]


def test_the_oldest_can_come_first(look):
    young, old = make_run(), make_run(age=100)

    column = run_list.RunListAdmin.list_display.index("created_at") + 1
    page = look(o=str(column))

    assert page.index(old.run_id) < page.index(young.run_id)
