from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F

from agents.leases import EXPIRED, let_go, release
from agents.models import AgentExecution, Worker
from netra.console.why import PATIENCE, Reason, Standing, Why, explained, frozen, why
from netra.console.words import spell
from netra.console.workers import read_workers
from tests.runs import claim_runs, make_user, register_run

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
LATE = NOW - timedelta(seconds=42)
JUST = NOW - timedelta(seconds=2)
WORKING = {"status": "running", "phase": "thinking"}


def make_run(**changes: Any) -> AgentExecution:
    run = AgentExecution.objects.get(run_id=register_run(make_user()).run_id)
    AgentExecution.objects.filter(pk=run.pk).update(**({"created_at": JUST} | changes))
    return run


def make_held(**changes: Any) -> AgentExecution:
    """A run in its first thought, held by worker_1."""
    held: dict[str, Any] = WORKING | {
        "owner": "worker_1",
        "lease_expires_at": NOW + timedelta(seconds=5),
        "last_progress_at": JUST,
    }
    return make_run(**(held | changes))


def make_worker(seen_at: datetime = JUST, **changes: object) -> None:
    said = {"host": "web-1", "pid": 7, "started_at": LATE, "capacity": 4, "running": 1, "accepting": True}
    Worker.objects.create(owner="worker_1", seen_at=seen_at, **(said | changes))


def end(run: AgentExecution, at: datetime = JUST) -> None:
    AgentExecution.objects.filter(pk=run.pk).update(
        status="failed", phase="failed", completed_at=at, last_seq=1, completed_seq=1
    )


def reason_of(run: AgentExecution) -> Why | None:
    return why(explained(AgentExecution.objects.all(), NOW).get(pk=run.pk), read_workers(NOW), NOW)


def is_frozen(run: AgentExecution) -> bool:
    return bool(frozen(explained(AgentExecution.objects.filter(pk=run.pk), NOW), NOW).exists())


def test_a_run_that_has_agent_completed_needs_no_reason():
    run = make_run()
    end(run)

    assert reason_of(run) is None
    assert not is_frozen(run)


def test_a_run_whose_worker_was_killed_tells_how_long_it_was_not_heard_of():
    make_worker(LATE)
    run = make_held(lease_expires_at=NOW - timedelta(seconds=36))

    assert reason_of(run) == Why(Reason.LEASE_EXPIRED, "no heartbeat for 42 s, worker web-1:7 gone")
    assert is_frozen(run)


def test_a_worker_that_nobody_remembers_is_known_by_the_lease():
    run = make_held(lease_expires_at=NOW - timedelta(seconds=36))

    assert reason_of(run) == Why(Reason.LEASE_EXPIRED, "no heartbeat for 42 s, worker worker_1 gone")


def test_a_lease_that_ran_out_under_a_living_worker():
    make_worker()
    run = make_held(lease_expires_at=LATE)

    assert reason_of(run) == Why(Reason.LEASE_EXPIRED, "lease ran out 42 s ago, though worker web-1:7 is there")


def test_a_run_that_its_worker_gave_up():
    register_run(make_user())
    [claim] = claim_runs()
    release(owner="worker_1")
    run = AgentExecution.objects.get(pk=claim.run.pk)

    assert run.lease_expires_at == EXPIRED
    assert reason_of(run) == Why(Reason.LEASE_EXPIRED, "given up by worker worker_1, the next one is to take it")


def test_a_run_that_an_operator_has_handed_over_is_free_for_the_next_worker():
    register_run(make_user())
    [claim] = claim_runs()
    let_go(claim.run.pk)
    run = AgentExecution.objects.get(pk=claim.run.pk)

    assert reason_of(run) == Why(Reason.LEASE_EXPIRED, "handed over by an operator, the next one is to take it")


@pytest.mark.parametrize(("asked_at", "is_late"), [(JUST, False), (LATE, True)])
def test_a_cancel_that_nobody_has_obeyed_yet(asked_at, is_late):
    make_worker()
    run = make_held(cancel_requested_at=asked_at)

    waited = spell((NOW - asked_at).total_seconds())
    assert reason_of(run) == Why(Reason.CANCEL_PENDING, f"cancel asked for {waited} ago; worker web-1:7 has it")
    assert is_frozen(run) is is_late


def test_a_child_whose_parent_has_ended_is_to_be_cancelled():
    parent = make_run()
    end(parent, LATE)
    child = make_run(parent=parent, created_at=LATE)

    expected = Why(Reason.CANCEL_PENDING, "to be cancelled, as its parent has ended; no worker has it")
    assert reason_of(child) == expected
    assert is_frozen(child)


def test_a_queued_run_tells_whether_anybody_could_take_it():
    run = make_run()
    assert reason_of(run) == Why(Reason.QUEUED, "queued for 2.0 s, and no worker takes runs")

    make_worker()
    assert reason_of(run) == Why(Reason.QUEUED, "queued for 2.0 s")

    Worker.objects.update(running=F("capacity"))
    assert reason_of(run) == Why(Reason.QUEUED, "queued for 2.0 s: all 4 places of the workers are taken")
    assert not is_frozen(run)

    AgentExecution.objects.update(created_at=LATE)
    assert is_frozen(run)


def test_a_run_behind_another_of_its_thread_is_not_frozen_but_the_other_may_be():
    first = make_held(last_progress_at=LATE)
    second = make_run(thread=first.thread, created_at=LATE)

    assert reason_of(second) == Why(Reason.BEHIND, "queued for 42 s, behind an earlier run of its thread")
    assert not is_frozen(second)
    assert is_frozen(first)


def test_a_run_that_moves_tells_where_it_is():
    assert reason_of(make_held()) == Why(Reason.MOVING, "thinking, moved 2.0 s ago")


def test_a_run_in_which_nothing_happens():
    make_worker()
    run = make_held(last_progress_at=LATE, phase="tool_execution")

    expected = Why(Reason.NO_PROGRESS, "no progress for 42 s in tool execution; worker web-1:7 has it")
    assert reason_of(run) == expected
    assert is_frozen(run)


def test_who_waits_for_a_person_is_not_frozen():
    run = make_held(last_progress_at=LATE, phase="awaiting_approval")

    assert reason_of(run) == Why(Reason.APPROVAL, "waiting for approval for 42 s")
    assert not is_frozen(run)


def test_who_waits_for_its_children_is_not_frozen():
    run = make_held(last_progress_at=LATE)
    make_held(parent=run)

    assert reason_of(run) == Why(Reason.CHILDREN, "waiting for its child runs for 42 s")
    assert not is_frozen(run)


def test_a_child_that_has_ended_is_waited_for_no_more():
    run = make_held(last_progress_at=LATE)
    end(make_held(parent=run))

    assert reason_of(run) == Why(Reason.NO_PROGRESS, "no progress for 42 s in thinking; worker worker_1 has it")


def test_what_is_frozen_is_the_same_for_the_database_and_for_what_was_read_of_it():
    ended = make_run()
    end(ended, LATE)
    for at in (JUST, LATE, NOW - PATIENCE):
        make_run(created_at=at)
        make_held(last_progress_at=at)
        make_held(last_progress_at=at, phase="awaiting_approval")
        make_held(cancel_requested_at=at)
        make_held(lease_expires_at=at)
        make_held(parent=ended, last_progress_at=at)
        make_run(thread=make_held(last_progress_at=at).thread, created_at=at)
        make_held(parent=make_held(last_progress_at=at))
    runs = explained(AgentExecution.objects.filter(completed_seq__isnull=True), NOW)

    read = [Standing(*row) for row in runs.values_list(*Standing.__struct_fields__)]

    by_database = set(frozen(runs, NOW).values_list("pk", flat=True))
    assert {run.pk for run in read if run.is_frozen(NOW)} == by_database
    assert {run.reason for run in read} == set(Reason.values)
    assert 0 < len(by_database) < len(read)


def test_reading_and_explaining_many_runs_takes_two_queries(django_assert_num_queries):
    for _ in range(5):
        make_held()

    with django_assert_num_queries(2):
        workers = read_workers(NOW)
        assert len([why(run, workers, NOW) for run in explained(AgentExecution.objects.all(), NOW)]) == 5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 d")],
)
def test_times_are_short(seconds, words):
    assert spell(seconds) == words
