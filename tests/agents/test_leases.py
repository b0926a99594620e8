import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from agents.leases import EXPIRED, claim_pending, claim_stalled, release, renew
from agents.models import AgentExecution, ExecutionEvent
from agents.phases import AgentExecutionPhase
from agents.progress import read_progress
from agents.runs import RunRequest
from tests.runs import LEASE, claim_runs, make_claim, make_terms, make_user, read_run, register_run

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(db):
    return make_user("ada")


def claim(owner: str = "worker_1", *, slots: int = 100, per_user: int = 100, now: datetime = NOW) -> list[str]:
    claims = claim_pending(owner=owner, slots=slots, per_user=per_user, now=now, lease=LEASE)
    return [one.run.run_id for one in claims]


def stall(run_id: str, **columns) -> None:
    """Leaves a run as a worker does that died in the middle."""
    columns = {"phase": "thinking", "status": "running", "last_seq": 2, "phase_count": 4} | columns
    AgentExecution.objects.filter(run_id=run_id).update(lease_expires_at=NOW - timedelta(seconds=1), **columns)


def take_stalled(owner: str = "worker_2", slots: int = 100):
    return claim_stalled(owner=owner, slots=slots, now=NOW, lease=LEASE)


def test_a_claim_tells_the_whole_run_and_makes_it_the_claimers(ada):
    made = register_run(ada, "analyst", "Count.", params={"a": 1}, terms=make_terms(timeout=7.0, restartable=True))

    (one,) = claim_pending(owner="worker_1", slots=1, per_user=1, now=NOW, lease=LEASE)

    run = read_run(made.run_id)
    assert (run.owner, run.attempt, run.lease_expires_at) == ("worker_1", 1, NOW + LEASE)
    assert run.deadline_at == one.deadline_at == NOW + timedelta(seconds=7)
    assert one.run.request == RunRequest(agent="analyst", message="Count.", params={"a": 1})
    assert (one.run.run_id, one.run.thread_id, one.run.parent_run_id) == (made.run_id, made.thread_id, None)
    assert (one.run.user_id, one.run.attempt, one.run.timeout, one.run.tier) == (ada, 1, 7.0, "free")
    assert one.run.correlation_id == run.correlation_id
    assert (one.state.phase, one.state.last_seq, one.state.phase_count) == (AgentExecutionPhase.CREATED, 0, 0)
    assert (one.restartable, one.cancel_requested) == (True, False)


@pytest.mark.parametrize("worked_before", [False, True])
def test_the_time_that_a_run_waited_for_a_worker_is_not_its_silence(ada, worked_before: bool):
    made = register_run(ada)
    if worked_before:
        stall(made.run_id, owner="worker_1", attempt=1, last_progress_at=NOW - timedelta(minutes=1))

    (one,) = (
        take_stalled() if worked_before else claim_pending(owner="worker_1", slots=1, per_user=1, now=NOW, lease=LEASE)
    )

    assert one.state.last_progress_at == NOW


def test_a_run_is_claimed_once(ada):
    register_run(ada)

    assert len(claim("worker_1")) == 1
    assert claim("worker_2") == []


def test_the_oldest_runs_are_taken_first_and_no_more_than_asked(ada):
    made = [register_run(ada).run_id for _ in range(5)]

    assert claim(slots=2) == made[:2]
    assert claim(slots=2) == made[2:4]


def test_no_user_gets_more_than_their_share_and_nobody_waits_behind_them(ada):
    adas = [register_run(ada).run_id for _ in range(5)]
    bobs = [register_run(make_user("bob")).run_id]

    assert claim(slots=4, per_user=2) == [*adas[:2], *bobs]
    assert claim(slots=4, per_user=2) == []

    end(adas[0])
    assert claim(slots=4, per_user=2) == [adas[2]]


def end(run_id: str) -> None:
    AgentExecution.objects.filter(run_id=run_id).update(
        status="lost", phase="lost", completed_at=NOW, completed_seq=1, last_seq=1
    )


def test_runs_of_a_thread_go_one_after_the_other_in_their_order(ada):
    first = register_run(ada)
    rest = [register_run(ada, thread_id=first.thread_id).run_id for _ in range(2)]

    assert claim() == [first.run_id]
    assert claim() == []
    end(first.run_id)
    assert claim() == rest[:1]
    end(rest[0])
    assert claim() == rest[1:]


def test_a_child_run_does_not_wait_for_its_parent_in_the_thread(ada):
    parent = register_run(ada)
    claim()
    child = register_run(ada, thread_id=parent.thread_id)
    AgentExecution.objects.filter(run_id=child.run_id).update(parent=read_run(parent.run_id))

    (one,) = claim_runs()

    assert (one.run.run_id, one.run.parent_run_id) == (child.run_id, parent.run_id)


def test_a_run_to_be_cancelled_is_taken_whatever_the_limits(ada):
    made = [register_run(ada).run_id for _ in range(3)]
    claim(slots=1, per_user=1)
    AgentExecution.objects.filter(run_id=made[2]).update(cancel_requested_at=NOW)

    (one,) = claim_pending(owner="w", slots=0, per_user=1, now=NOW, lease=LEASE)

    assert one.run.run_id == made[2]
    assert one.cancel_requested


def test_a_worker_with_more_runs_than_slots_claims_nothing_more(ada):
    """Takeovers and runs to be cancelled may bring a worker over its number."""
    register_run(ada)

    assert claim(slots=-3) == []


def test_a_lease_is_renewed_by_its_owner_and_wishes_to_cancel_come_along(ada):
    made = [register_run(ada).run_id for _ in range(3)]
    claim("worker_1", slots=2)
    claim("worker_2")
    AgentExecution.objects.filter(run_id=made[1]).update(cancel_requested_at=NOW)
    later = NOW + timedelta(seconds=5)

    keys = [read_run(run_id).pk for run_id in made]
    held = renew(owner="worker_1", keys=keys, now=later, lease=LEASE)

    assert held == {keys[0]: False, keys[1]: True}
    assert [read_run(run_id).lease_expires_at for run_id in made] == [later + LEASE, later + LEASE, NOW + LEASE]


def test_a_lease_that_nobody_works_for_runs_out(ada):
    run_id = register_run(ada).run_id
    claim("worker_1")

    assert renew(owner="worker_1", keys=[], now=NOW + timedelta(seconds=5), lease=LEASE) == {}
    assert read_run(run_id).lease_expires_at == NOW + LEASE


def test_a_run_that_has_ended_is_not_renewed(ada):
    run_id = register_run(ada).run_id
    claim()
    end(run_id)
    AgentExecution.objects.update(lease_expires_at=None)

    assert renew(owner="worker_1", keys=[read_run(run_id).pk], now=NOW, lease=LEASE) == {}
    assert read_run(run_id).lease_expires_at is None


def test_a_stalled_run_is_taken_over_as_the_next_attempt_with_its_first_deadline(ada):
    run_id = register_run(ada).run_id
    claim("worker_1")
    deadline = read_run(run_id).deadline_at
    stall(run_id)

    (one,) = take_stalled("worker_2")

    run = read_run(run_id)
    assert (one.run.attempt, run.attempt, run.owner) == (2, 2, "worker_2")
    assert (one.state.phase, one.state.last_seq, one.state.phase_count) == (AgentExecutionPhase.THINKING, 2, 4)
    assert one.deadline_at == deadline
    assert take_stalled("worker_3") == []


def test_a_live_lease_is_left_alone(ada):
    register_run(ada)
    claim()

    assert take_stalled() == []


def test_stalled_runs_are_taken_longest_dead_first_and_no_more_than_asked(ada):
    made = [register_run(ada).run_id for _ in range(3)]
    claim()
    for run_id, dead in zip(made, (1, 3, 2), strict=True):
        stall(run_id)
        AgentExecution.objects.filter(run_id=run_id).update(lease_expires_at=NOW - timedelta(seconds=dead))

    assert [one.run.run_id for one in take_stalled(slots=1)] == [made[1]]
    assert {one.run.run_id for one in take_stalled(slots=0)} == set()
    assert {one.run.run_id for one in take_stalled(slots=5)} == {made[0], made[2]}


def test_a_released_run_is_taken_over_at_once(ada):
    run_id = register_run(ada).run_id
    claim("worker_1")
    stall(run_id)

    release(owner="worker_1")

    assert read_run(run_id).lease_expires_at == EXPIRED
    assert len(take_stalled()) == 1


def test_a_renewal_that_comes_too_late_does_not_take_back_what_was_released(ada):
    """A renewal may be under way in another thread when its runner stops."""
    run_id = register_run(ada).run_id
    (mine,) = claim_runs("w")
    release(owner="w")

    assert renew(owner="w", keys=[mine.run.pk], lease=LEASE) == {}
    assert read_run(run_id).lease_expires_at == EXPIRED


def test_what_is_released_in_good_order_is_no_attempt_of_the_few_that_a_run_has(ada):
    run_id = register_run(ada).run_id
    tries = []
    for in_good_order in (True, True, False, True, False):
        (mine,) = claim_pending(owner="w", slots=1, per_user=9, now=NOW, lease=LEASE) or claim_stalled(
            owner="w", slots=1, held=(), now=NOW, lease=LEASE
        )
        tries.append(mine.tries)
        release(owner="w", keys=[mine.run.pk], in_good_order=in_good_order)

    assert tries == [1, 1, 1, 2, 2]
    assert (read_run(run_id).attempt, read_run(run_id).handovers) == (5, 3)


def test_only_the_named_runs_of_the_owner_are_released(ada):
    made = [register_run(ada).run_id for _ in range(3)]
    claim("worker_1", slots=2)
    claim("worker_2")

    release(owner="worker_1", keys=[read_run(made[0]).pk, read_run(made[2]).pk])

    assert [read_run(run_id).lease_expires_at for run_id in made] == [EXPIRED, NOW + LEASE, NOW + LEASE]


def test_progress_is_what_earlier_attempts_left_open(ada):
    run_id = register_run(ada).run_id
    pk = read_run(run_id).pk
    frames = [
        ("agent_started", "{}"),
        ("agent_thinking", "{}"),
        ("tool_executing", '{"tool_call_id":"tool_1","tool_name":"echo","arguments":{}}'),
        ("tool_executing", '{"tool_call_id":"tool_2","tool_name":"sleep","arguments":{}}'),
        ("tool_completed", '{"tool_call_id":"tool_1"}'),
        ("partial_result", '{"delta":"Hel"}'),
        ("agent_thinking", "{}"),
        ("partial_result", '{"delta":"lo"}'),
    ]
    for seq, (type_, data) in enumerate(frames, 1):
        ExecutionEvent.objects.create(
            execution_id=pk, seq=seq, type=type_, frame=f'{{"data":{data}}}', at=NOW + timedelta(seconds=seq)
        )

    progress = read_progress(pk)

    assert progress.open_tool_calls == {"tool_2": ("sleep", NOW + timedelta(seconds=4))}
    assert (progress.produced, progress.steps) == ("Hello", 2)


def test_a_run_without_a_log_has_made_no_progress():
    progress = read_progress(make_claim().run.pk)

    assert (progress.open_tool_calls, progress.produced, progress.steps) == ({}, "", 0)


class ClaimsHold(TestCase):
    """Whatever waits: the limits hold, order is kept, nothing that may go is left while there is room."""

    @settings(max_examples=25, deadline=None)
    @given(
        runs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=12),
        slots=st.integers(0, 6),
        per_user=st.integers(1, 3),
        rounds=st.integers(1, 3),
    )
    def test_limits_and_order(self, runs, slots, per_user, rounds):
        users = [make_user() for _ in range(3)]
        threads: dict[tuple[int, int], str] = {}
        made = []
        for user, thread in runs:
            one = register_run(users[user], thread_id=threads.get((user, thread)))
            threads[(user, thread)] = one.thread_id
            made.append((one.run_id, user, thread))
        for _ in range(rounds):
            before = set(AgentExecution.objects.exclude(owner="").values_list("run_id", flat=True))
            taken = set(claim(slots=slots, per_user=per_user))
            running = [one for one in made if one[0] in before | taken]

            assert len(taken) <= slots
            assert not taken & before
            for user in range(3):
                assert sum(one[1] == user for one in running) <= per_user
            for first, second in itertools.combinations(running, 2):
                assert first[1:] != second[1:], "two runs of one thread at once"
            held = {one[1:] for one in running}
            free = [
                one
                for one in made
                if one not in running
                and one[1:] not in held
                and sum(other[1] == one[1] for other in running) < per_user
            ]
            assert len(taken) == slots or not free
