"""One run's page, without a browser."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition
from notifications.models import ConnectedSocket, SocketProcess
from tests.runs import make_user, read_run, register_run

pytestmark = pytest.mark.django_db

NOTHING = '{"output": null}'


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("op", password="pw"))
    return client


@pytest.fixture
def viewer(client: Client) -> Client:
    """May view runs, and nothing else."""
    user = get_user_model().objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_agentexecution"))
    client.force_login(user)
    return client


def page_of(run: AgentExecution) -> str:
    return reverse("admin:agents_agentexecution_change", args=[run.pk])


def show(client: Client, run: AgentExecution, **query: str) -> str:
    answer = client.get(page_of(run), query)
    assert answer.status_code == 200
    return answer.content.decode()


def make_run(message: str = "Secret plan", **changes) -> AgentExecution:
    run = read_run(register_run(make_user(), message=message, params={"table": "Secret table"}).run_id)
    AgentExecution.objects.filter(pk=run.pk).update(**changes)
    run.refresh_from_db()
    return run


def add_events(run: AgentExecution, count: int, type_: str = "agent_thinking") -> None:
    """The next `count` events of a run, a second apart."""
    ExecutionEvent.objects.bulk_create(
        ExecutionEvent(
            execution=run,
            seq=seq,
            type=type_,
            frame=json.dumps({"type": type_, "seq": seq, "data": {"reasoning": f"Secret thought {seq}"}}),
            at=run.created_at + timedelta(seconds=seq),
        )
        for seq in range(run.last_seq + 1, run.last_seq + count + 1)
    )
    run.last_seq += count
    AgentExecution.objects.filter(pk=run.pk).update(last_seq=run.last_seq)


def seqs_on(page: str) -> list[int]:
    return [int(part.split('"')[0]) for part in page.split('<tr data-seq="')[1:]]


def test_the_page_says_who_what_and_why(console):
    run = make_run()

    page = show(console, run)

    for words in (run.run_id, "Secret plan", "Secret table", run.user.get_username(), "Queued for", "End as failed"):
        assert words in page
    assert "Retry" not in page


def test_without_view_content_the_page_says_nothing_of_what_the_run_says(viewer):
    run = make_run(error_code="tool_failed", error_message="Secret failure", warnings=["Secret warning"])
    add_events(run, 3)
    end = {"status": "failed", "phase": "failed", "completed_at": timezone.now(), "completed_seq": 3}
    AgentExecution.objects.filter(pk=run.pk).update(**end, result='{"output": "Secret answer"}')

    page = show(viewer, run)

    assert seqs_on(page) == [1, 2, 3]
    assert "Secret" not in page
    assert "tool_failed" in page
    assert "Retry" not in page


def test_events_come_in_pages_by_their_seq(console):
    run = make_run()
    add_events(run, 120)

    latest = show(console, run)
    earlier = show(console, run, before="71")
    first = show(console, run, after="0")

    assert seqs_on(latest) == list(range(71, 121))
    assert "?before=71#events" in latest
    assert seqs_on(earlier) == list(range(21, 71))
    assert seqs_on(first) == list(range(1, 51))
    assert "?after=50#events" in first


def test_events_are_filtered_by_their_type(console):
    run = make_run()
    add_events(run, 5)
    add_events(run, 1, "tool_progress")

    assert seqs_on(show(console, run, type="tool_progress")) == [6]


@pytest.mark.parametrize("query", [{"after": "x"}, {"before": "-1"}, {"after": "9" * 30}, {"type": "no such"}])
def test_a_query_that_makes_no_sense_shows_the_latest_events(console, query):
    run = make_run()
    add_events(run, 2)

    assert seqs_on(show(console, run, **query)) == [1, 2]


def test_the_page_of_a_long_run_takes_as_many_queries_as_that_of_a_short_one(console):
    short, long = make_run(), make_run()
    add_events(short, 1)
    add_events(long, 5_000)
    PhaseTransition.objects.bulk_create(
        PhaseTransition(
            execution=long,
            ordinal=number,
            from_phase="thinking",
            to_phase="tool_preparation",
            at=long.created_at + timedelta(seconds=number),
            duration_ms=1,
        )
        for number in range(1, 1_001)
    )
    AgentExecution.objects.filter(pk=long.pk).update(phase_count=1_000)

    counts = []
    for run in (short, long):
        with CaptureQueriesContext(connection) as queries:
            page = show(console, run)
        assert len(page) < 400_000
        counts.append(len(queries))

    assert counts[1] - counts[0] <= 2  # the last events and the last steps are drawn as well
    assert counts[1] <= 24


def test_an_event_has_an_address_with_its_whole_frame(console):
    run = make_run()
    add_events(run, 1)

    answer = console.get(reverse("admin:agents_agentexecution_frame", args=[run.pk, 1]))

    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.content.decode() == ExecutionEvent.objects.get().frame


def test_what_a_run_says_is_text_on_its_page(console):
    run = make_run("<script>alert(1)</script>")

    page = show(console, run)

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_child_runs_are_shown_as_a_tree_from_any_of_them(console):
    parent = make_run()
    child = make_run()
    grandchild = make_run()
    AgentExecution.objects.filter(pk=child.pk).update(parent=parent)
    AgentExecution.objects.filter(pk=grandchild.pk).update(parent=child)

    for run in (parent, child, grandchild):
        page = show(console, run)
        places = [page.index(f'class="depth-{depth}') for depth in range(3)]
        assert places == sorted(places)


def test_the_users_clients_are_shown_with_how_far_they_are(console):
    run = make_run()
    add_events(run, 9)
    now = timezone.now()
    process = SocketProcess.objects.create(host="web-1", pid=7, started_at=now, seen_at=now)
    for number, places in enumerate(({run.run_id: [9, 4]}, {run.run_id: [8, None]}, {})):
        ConnectedSocket.objects.create(
            connection_id=f"conn_{number}",
            user=run.user,
            process=process,
            client=f"Browser {number}",
            opened_at=now,
            places=json.dumps(places),
        )

    page = show(console, run)

    assert "acknowledged 4 of 9" in page
    assert "sent 8, does not acknowledge of 9" in page
    assert "nothing of this run since it connected" in page


def test_the_user_leads_to_all_runs_of_that_user_whatever_the_name(console):
    run = make_run()
    get_user_model().objects.filter(pk=run.user_id).update(username="+ada+b@example")

    page = show(console, run)

    assert 'href="../../?q=%2Bada%2Bb%40example"' in page


def test_an_address_with_more_digits_than_a_key_has_is_of_no_run(console):
    address = reverse("admin:agents_agentexecution_changelist")

    assert console.get(f"{address}{'9' * 5_000}/change/").status_code == 404


def test_a_run_that_ended_without_an_answer_produced_nothing(console):
    run = make_run(
        status="lost", phase="lost", completed_at=timezone.now(), completed_seq=1, last_seq=1, result=NOTHING
    )

    assert "Nothing was produced." in show(console, run)
