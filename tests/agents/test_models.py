import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition, Thread
from agents.phases import AgentExecutionPhase, Status, status_of
from tests.runs import make_user, read_run, register_run

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
TERMINAL = {"completed", "failed", "timed_out", "cancelled", "lost"}


@pytest.fixture
def execution():
    return read_run(register_run(make_user()).run_id)


def add_event(execution: AgentExecution, seq: int, type_: str = "agent_thinking") -> ExecutionEvent:
    return ExecutionEvent.objects.create(execution=execution, seq=seq, type=type_, frame="{}", at=NOW)


def refused_by(constraint: str):
    """SQLite names a unique constraint by its columns, or by its index when it is partial or over expressions."""
    columns = {
        "execution_request_once": "agents_agentexecution.user_id, agents_agentexecution.request_id",
        "event_seq_once": "agents_executionevent.execution_id, agents_executionevent.seq",
        "event_one_agent_completed": "agents_executionevent.execution_id",
        "transition_once": "agents_phasetransition.execution_id, agents_phasetransition.ordinal",
    }
    told = columns.get(constraint, constraint) if connection.vendor == "sqlite" else constraint
    return pytest.raises(IntegrityError, match=f"{re.escape(told)}$" if connection.vendor == "sqlite" else told)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            AgentExecution,
            {
                "execution_request_once",
                "execution_ended_iff_completed",
                "execution_status_follows_phase",
                "execution_completed_last",
            },
        ),
        (ExecutionEvent, {"event_seq_once", "event_one_agent_completed", "event_seq_from_1"}),
        (PhaseTransition, {"transition_once"}),
    ],
)
def test_the_database_has_every_constraint_by_its_name(model, names):
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, model._meta.db_table)

    assert names <= set(found) | {row.name for row in model._meta.constraints if row.name in found}
    assert names == {row.name for row in model._meta.constraints}


def test_live_executions_have_a_partial_index():
    (index,) = [index for index in AgentExecution._meta.indexes if index.name == "execution_live"]
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, AgentExecution._meta.db_table)

    assert index.condition is not None
    assert found["execution_live"]["columns"] == ["lease_expires_at"]


def test_a_user_uses_a_request_id_once(execution):
    with refused_by("execution_request_once"), transaction.atomic():
        AgentExecution.objects.create(
            run_id="run_other",
            thread=execution.thread,
            user=execution.user,
            request_id=execution.request_id,
            timeout=1.0,
        )


def test_another_user_may_use_the_same_request_id(execution):
    other = make_user()

    assert register_run(other, request_id=execution.request_id).duplicate is False


def test_two_events_of_a_run_never_share_a_seq(execution):
    add_event(execution, 1)

    with refused_by("event_seq_once"), transaction.atomic():
        add_event(execution, 1)


def test_a_run_has_one_agent_completed(execution):
    add_event(execution, 1, "agent_completed")

    with refused_by("event_one_agent_completed"), transaction.atomic():
        add_event(execution, 2, "agent_completed")


def test_two_runs_have_an_agent_completed_each(execution):
    other = read_run(register_run(execution.user_id).run_id)

    add_event(execution, 1, "agent_completed")
    add_event(other, 1, "agent_completed")

    assert ExecutionEvent.objects.filter(type="agent_completed").count() == 2


def test_seq_begins_at_1(execution):
    with refused_by("event_seq_from_1"), transaction.atomic():
        add_event(execution, 0)


def test_a_step_of_the_history_is_there_once(execution):
    def add_step() -> None:
        PhaseTransition.objects.create(
            execution=execution,
            ordinal=1,
            from_phase="created",
            to_phase="websocket_setup",
            at=NOW,
            duration_ms=0.0,
        )

    add_step()
    with refused_by("transition_once"), transaction.atomic():
        add_step()


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "completed", "phase": "completed"},
        {"status": "completed", "phase": "completed", "completed_at": NOW},
        {"status": "completed", "phase": "completed", "completed_seq": 0},
        {"completed_at": NOW, "completed_seq": 0},
        {"completed_at": NOW},
        {"completed_seq": 0},
        {"status": "running", "phase": "thinking", "completed_at": NOW, "completed_seq": 0},
    ],
)
def test_a_status_is_terminal_if_and_only_if_the_completion_is_noted(execution, columns):
    with refused_by("execution_ended_iff_completed"), transaction.atomic():
        AgentExecution.objects.filter(pk=execution.pk).update(**columns)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("phase", AgentExecutionPhase)
def test_only_the_status_that_follows_from_the_phase_can_be_stored(execution, phase, status):
    ended = {"completed_at": NOW, "completed_seq": 0} if status.value in TERMINAL else {}
    change = AgentExecution.objects.filter(pk=execution.pk)

    if status is status_of(phase):
        assert change.update(phase=phase.value, status=status.value, **ended) == 1
    else:
        with refused_by("execution_status_follows_phase"), transaction.atomic():
            change.update(phase=phase.value, status=status.value, **ended)


def test_the_completion_is_the_last_event(execution):
    with refused_by("execution_completed_last"), transaction.atomic():
        AgentExecution.objects.filter(pk=execution.pk).update(
            status="lost", phase="lost", completed_at=NOW, completed_seq=3, last_seq=4
        )


def end(execution: AgentExecution) -> None:
    AgentExecution.objects.filter(pk=execution.pk).update(
        status="lost", phase="lost", completed_at=NOW, completed_seq=1, last_seq=1
    )


def test_live_runs_are_those_that_have_not_ended(execution):
    other = read_run(register_run(execution.user_id).run_id)
    end(other)

    assert list(AgentExecution.objects.live()) == [execution]
    assert list(AgentExecution.objects.lacking_completion()) == [execution]


def test_a_run_is_stalled_when_its_lease_has_run_out(execution):
    now = timezone.now()
    runs = [execution, *(read_run(register_run(execution.user_id).run_id) for _ in range(3))]
    for run, left in zip(runs, [-1, 1, None, -1], strict=True):
        lease = None if left is None else now + timedelta(seconds=left)
        AgentExecution.objects.filter(pk=run.pk).update(lease_expires_at=lease)
    end(runs[3])

    assert list(AgentExecution.objects.stalled(now)) == [execution]


def test_a_user_has_only_their_own_runs(execution):
    other = make_user()
    register_run(other)

    assert list(AgentExecution.objects.for_user(execution.user_id)) == [execution]


def test_a_thread_gets_an_id_of_its_own_kind():
    thread = Thread.objects.create(user_id=make_user(), title="")

    assert thread.thread_id.startswith("thread_")
    assert str(thread) == thread.thread_id
