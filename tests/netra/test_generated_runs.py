from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F, Q
from django.test import Client
from django.urls import reverse

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition
from agents.phases import TRANSITIONS, AgentExecutionPhase
from netra import generated_runs
from netra.generated_runs import Plan, generate
from netra.testing.laws import require_lawful
from tests.runs import make_user, read_log, register_run

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def generated(monkeypatch, transactional_db):
    monkeypatch.setattr(generated_runs, "SLICE", 70)
    plan = Plan(runs=200, events=6, live=30, agents=["a", "b"], begin=NOW - timedelta(days=1), now=NOW)
    assert list(generate(plan)) == [70, 140, 200]


def test_the_logs_are_lawful_and_the_records_say_the_same():
    for run in AgentExecution.objects.filter(completed_seq__isnull=False):
        log = read_log(run.run_id)
        require_lawful(log)
        assert len(log) == run.last_seq == 6
        assert log[-1]["data"]["status"] == run.status
    assert AgentExecution.objects.live().count() == 30
    assert ExecutionEvent.objects.filter(execution__in=AgentExecution.objects.live()).count() == 10 * (0 + 2 + 3)


def test_each_run_walked_as_the_table_of_phases_allows():
    steps = PhaseTransition.objects.order_by("execution_id", "ordinal").values_list(
        "execution_id", "ordinal", "from_phase", "to_phase"
    )
    at: dict[int, tuple[int, str]] = {}
    for key, ordinal, origin, target in steps:
        assert at.get(key, (0, "created")) == (ordinal - 1, origin)
        assert AgentExecutionPhase(target) in TRANSITIONS[AgentExecutionPhase(origin)]
        at[key] = ordinal, target
    for run in AgentExecution.objects.all():
        assert at.get(run.pk, (0, "created")) == (run.phase_count, run.phase)


def test_children_are_their_users_own_and_times_follow_each_other():
    children = AgentExecution.objects.filter(parent__isnull=False)
    assert children
    assert not children.exclude(user=F("parent__user"), thread=F("parent__thread"), depth=1)
    ended = Q(completed_at__gte=F("started_at"), started_at__gte=F("created_at"))
    assert not AgentExecution.objects.filter(completed_seq__isnull=False).exclude(ended)


def test_real_runs_can_follow():
    assert register_run(make_user()).queue_position == 0


def test_the_console_shows_them(admin_client: Client):
    run = AgentExecution.objects.filter(status="failed").latest("pk")

    page = admin_client.get(reverse("admin:agents_agentexecution_change", args=[run.pk]))

    assert "It was generated so." in page.content.decode()


def test_the_command_spares_databases_that_are_not_for_tests(settings):
    settings.NETRA_TEST_AGENTS = False
    before = AgentExecution.objects.count()
    with pytest.raises(CommandError, match="--into-this-database"):
        call_command("generate_runs", "--runs", "10", stdout=StringIO())
    assert AgentExecution.objects.count() == before

    out = StringIO()
    call_command("generate_runs", "--runs", "10", "--live", "0", "--into-this-database", stdout=out)
    assert AgentExecution.objects.count() == before + 10
    assert "Generated 10 runs with 20 events each" in out.getvalue()


@pytest.mark.parametrize("option", ["--runs=0", "--events=4", "--live=11", "--days=0"])
def test_numbers_that_make_no_sense_are_refused(settings, option):
    settings.NETRA_TEST_AGENTS = True
    with pytest.raises(CommandError, match="Give 1 run or more"):
        call_command("generate_runs", "--runs=10", option)
