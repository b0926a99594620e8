from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.ids import Prefix, new_id
from agents.models import AgentExecution, ExecutionEvent
from notifications.log import READ_CHARACTERS, read_events, read_heads, read_heads_of, read_runs
from tests.runs import make_user, read_run, register_run

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def add_run(user: int, head: int, ended_at: datetime | None = None) -> str:
    run_id = register_run(user).run_id
    columns: dict[str, Any] = {"last_seq": head}
    if ended_at is not None:
        columns |= {"status": "lost", "phase": "lost", "completed_at": ended_at, "completed_seq": head}
    AgentExecution.objects.filter(run_id=run_id).update(**columns)
    for seq in range(1, head + 1):
        ExecutionEvent.objects.create(execution=read_run(run_id), seq=seq, type="x", frame=f"{run_id}:{seq}", at=NOW)
    return run_id


@pytest.fixture
def ada():
    return make_user("ada")


@pytest.fixture
def bob():
    return make_user("bob")


def test_a_socket_begins_with_the_live_runs_of_its_user_and_the_heads_of_those_just_ended(ada, bob):
    live, lately, long_ago = add_run(ada, 2), add_run(ada, 3, NOW), add_run(ada, 1, NOW - 2 * MINUTE)
    add_run(bob, 4)

    runs, heads = read_runs(ada, NOW - MINUTE)

    (run,) = runs
    record = read_run(live)
    assert (run.run_id, run.thread_id, run.last_seq) == (live, record.thread.thread_id, 2)
    assert (run.agent_name, run.status, run.phase) == ("test", "pending", "created")
    assert heads == {live: 2, lately: 3}
    assert long_ago not in heads


def test_heads_are_read_for_many_users_at_once_and_for_nobody_else(ada, bob):
    mine, ended, yours = add_run(ada, 2), add_run(ada, 1, NOW), add_run(bob, 3)
    add_run(make_user("eve"), 1)
    add_run(bob, 1, NOW - 2 * MINUTE)

    heads, live = read_heads([ada, bob], NOW - MINUTE)

    assert heads == {ada: {mine: 2, ended: 1}, bob: {yours: 3}}
    assert live == {mine, yours}
    assert read_heads([], NOW) == ({}, set())


def test_a_run_that_was_live_and_whose_end_comes_late_still_has_its_head_read(ada, bob):
    """Its worker decided the end long before it could be committed."""
    run_id = add_run(ada, 2, NOW - 10 * MINUTE)

    assert read_heads([ada], NOW - MINUTE) == ({}, set())
    assert read_heads([ada], NOW - MINUTE, {run_id, "run_deleted"}) == ({ada: {run_id: 2}}, set())
    assert read_heads([bob], NOW - MINUTE, {run_id}) == ({}, set())


def test_all_connected_users_are_one_query(ada, bob, django_assert_num_queries):
    with django_assert_num_queries(1):
        read_heads([ada, bob, *range(100, 1_000)], NOW)


def test_heads_of_runs_that_are_not_the_users_do_not_come(ada, bob):
    mine, yours = add_run(ada, 2, NOW - 99 * MINUTE), add_run(bob, 3)

    asked = [mine, yours, new_id(Prefix.RUN), "", "run_x", "\0", "x" * 1_000]

    assert read_heads_of(ada, asked) == {mine: 2}


def test_events_are_read_in_order_after_a_place_and_no_more_than_asked(ada):
    run_id = add_run(ada, 10)

    assert read_events(ada, run_id, 3, 4) == [(seq, f"{run_id}:{seq}") for seq in (4, 5, 6, 7)]
    assert read_events(ada, run_id, 10, 4) == []


def test_large_events_are_read_only_until_there_is_enough_of_them(ada):
    run_id = add_run(ada, 5)
    ExecutionEvent.objects.filter(execution__run_id=run_id).update(frame="x" * (READ_CHARACTERS // 2))

    assert [seq for seq, _ in read_events(ada, run_id, 1, 100)] == [2, 3]


def test_events_of_somebody_elses_run_are_not_read(ada, bob):
    assert read_events(bob, add_run(ada, 3), 0, 10) == []
