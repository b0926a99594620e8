import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition, Worker
from agents.phases import Status
from netra.console import dashboard as figures
from netra.console.dashboard import read_dashboard, read_leases, read_outcomes, read_waiting
from netra.console.pace import durations, percentile, read_phases, read_rates
from netra.console.why import Reason
from netra.console.workers import read_workers
from netra.health import OK, Finding, Health, Probe, report_of_process
from notifications.models import ConnectedSocket, SocketProcess
from tests.netra.console.test_run_list import make_ended, make_held, make_run
from tests.runs import make_user

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:index")
QUERIES = 12
"""The session, its user; workers, latest runs, reasons, stuck, outcomes, phases, two for the events, leases,
processes."""


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def look(client: Client) -> Any:
    client.force_login(get_user_model().objects.create_superuser("op"))

    def look() -> str:
        answer = client.get(PAGE)
        assert answer.status_code == 200
        return answer.content.decode()

    return look


def fill() -> None:
    user = make_user()
    for _ in range(3):
        make_run(age=60)
        make_held(user=user)
        make_held(30, user=user, age=60)
        run = make_ended(started_at=now(), attempt=2)
        ExecutionEvent.objects.create(execution=run, seq=1, type="agent_started", frame="{}", at=now())
        PhaseTransition.objects.create(
            execution=run, ordinal=1, from_phase="created", to_phase="thinking", at=now(), duration_ms=4
        )


def test_when_all_is_well_it_says_that_no_one_waits(look):
    assert "No one is waiting." in look()

    make_held()
    page = look()

    assert "No one is waiting." in page
    assert "1 run is under way, and all is well with it." in page
    assert "Waiting longest" not in page


def test_it_says_how_many_people_wait_in_vain_and_leads_to_their_runs(look, client):
    ada = make_user("ada")
    runs = [make_held(30, user=ada), make_held(30, user=ada), make_held(30, user=make_user("bob"))]
    make_held()

    page = look()

    assert "2 people wait on 3 runs that do not move." in page
    assert "1 run is under way, besides." in page
    assert "no progress for 30 s in thinking; worker worker_1 has it" in page
    [link] = re.findall(r'<h2><a href="([^"]+)"', page)
    listed = client.get(link).content.decode()
    assert [f">{run.run_id}<" in listed for run in AgentExecution.objects.order_by("pk")] == [True, True, True, False]
    assert f'href="{reverse("admin:agents_agentexecution_change", args=[runs[0].pk])}"' in page


def test_one_person_on_one_run_is_told_of_in_the_singular(look):
    make_held(30)

    assert "1 person waits on a run that does not move." in look()


def test_the_page_asks_as_often_for_many_runs_as_for_few(look):
    fill()
    with CaptureQueriesContext(connection) as few:
        look()
    for _ in range(5):
        fill()
    with CaptureQueriesContext(connection) as many:
        look()

    queries = [query["sql"][:80] for query in many if "django_admin_log" not in query["sql"]]
    assert len(few) == len(many)
    assert len(queries) == QUERIES, queries


def test_every_number_of_runs_leads_to_as_many_in_the_list(look, client):
    fill()
    make_held(lease_expires_at=now() - timedelta(seconds=9), age=400)

    page = look()

    counts = re.findall(r'<td><a href="([^"]+)">(\d+)</a></td>', page)
    assert len(counts) > 8
    for link, count in counts:
        found = client.get(link.replace("&amp;", "&")).content.decode()
        assert f"{count} run" in found, link


def test_no_more_than_a_bounded_number_of_the_oldest_runs_is_looked_at(monkeypatch):
    monkeypatch.setattr(figures, "LOOKED_AT", 3)
    for _ in range(5):
        make_held()

    waiting = read_waiting(now(), {})

    assert waiting.count == 3
    assert waiting.is_cut


def test_runs_are_counted_by_reason_and_age():
    for age in (0, 20, 100, 4_000):
        make_held(age=age)
    make_held(30)

    waiting = read_waiting(now(), {})

    assert {each.reason: list(each.ages) for each in waiting.reasons} == {
        Reason.MOVING: [4, 3, 2, 1, 1],
        Reason.NO_PROGRESS: [1, 0, 0, 0, 0],
    }


def test_outcomes_of_the_hour_and_the_day(monkeypatch):
    make_ended()
    make_ended("failed", completed_at=now() - timedelta(hours=2))
    make_ended("failed", completed_at=now() - timedelta(hours=25))

    outcomes = read_outcomes(now())

    assert (outcomes.hour[Status.COMPLETED], outcomes.day[Status.COMPLETED]) == (1, 1)
    assert (outcomes.hour[Status.FAILED], outcomes.day[Status.FAILED]) == (0, 1)
    assert outcomes.since is None

    monkeypatch.setattr(figures, "ENDED_COUNTED", 1)
    cut = read_outcomes(now())
    assert (cut.day[Status.COMPLETED], cut.day[Status.FAILED]) == (1, 0)
    assert cut.since is not None


def test_percentiles():
    assert [percentile([3, 1, 2], share) for share in (0.01, 0.34, 0.5, 0.67, 1)] == [1, 2, 2, 3, 3]
    assert percentile(range(1, 101), 0.95) == 95
    slow, quick = durations([("quick", 1), ("slow", 5), ("quick", 2)])
    assert (slow.name, slow.p50, quick.name, quick.p50, quick.p95, quick.count) == ("slow", 5, "quick", 1, 2, 2)


def test_phases_are_timed_in_seconds():
    run = make_ended()
    PhaseTransition.objects.create(
        execution=run, ordinal=1, from_phase="tool_execution", to_phase="thinking", at=now(), duration_ms=1_500
    )

    assert [(each.name, each.p50) for each in read_phases([run.pk])] == [("tool execution", 1.5)]


def test_events_per_second_are_those_of_the_log():
    run, at = make_held(), now()
    for seconds, count in ((1_000, 50), (400, 60), (20, 90)):
        first = ExecutionEvent.objects.count() + 1
        ExecutionEvent.objects.bulk_create(
            ExecutionEvent(
                execution=run, seq=first + n, type="t", frame="{}", at=at - timedelta(seconds=seconds - n / 9)
            )
            for n in range(count)
        )

    rates = read_rates(at)

    assert len(rates) == 30
    assert rates[-1] * 30 == pytest.approx(90, rel=0.1)
    assert sum(rates) * 30 == pytest.approx(150, abs=12)
    assert all(rate >= 0 for rate in rates)


def test_no_events_are_no_events_per_second():
    assert read_rates(now()) == [0.0] * 30


def test_leases_are_told_of_by_worker_and_so_are_those_of_nobody():
    Worker.objects.create(
        owner="worker_1", host="web-1", pid=7, started_at=now(), seen_at=now(), capacity=4, running=1, accepting=True
    )
    make_held()
    make_held(owner="worker_2", lease_expires_at=now() - timedelta(seconds=9))
    make_run()

    leases = read_leases(now(), read_workers(now()))

    assert [(lease.owner, lease.worker is not None, lease.held, lease.expired) for lease in leases] == [
        ("worker_2", False, 1, 1),
        ("worker_1", True, 1, 0),
    ]


def test_sockets_of_all_processes_are_added_up(look):
    for host, count in (("web-1", 2), ("web-2", 1)):
        process = SocketProcess.objects.create(host=host, pid=7, started_at=now(), seen_at=now())
        for number in range(count):
            ConnectedSocket.objects.create(
                connection_id=f"{host}-{number}", process=process, user_id=1, opened_at=now()
            )

    assert read_dashboard(now()).sockets == 3
    assert "<b>3</b><small>of 2 processes" in look()


async def test_the_state_of_the_parts_is_what_readyz_says():
    async def ask() -> Finding:
        return Finding("degraded", "It limps.")

    health = Health([Probe(name="leg", ask=ask, otherwise=OK)])
    health.start()
    assert await health.is_ready()

    assert report_of_process() == health.report
    assert health.report.checks["leg"].message == "It limps."

    health.stop()
    assert report_of_process() is None


def test_who_may_not_see_runs_sees_the_admin_only(client):
    staff = get_user_model().objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename="view_thread"))
    make_held(30)
    client.force_login(staff)

    page = client.get(PAGE).content.decode()

    assert "wait" not in page
    assert "netra-dashboard" not in page
    assert "Threads" in page


def test_nothing_in_the_page_needs_a_script_or_a_style_of_its_own(look):
    fill()
    page = look()

    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", page)
    assert page.count('<svg class="netra-') == page.count('role="img" aria-label="') >= 4
