from datetime import UTC, datetime

import msgspec
import pytest
from django.db import IntegrityError

from agents.events import Frame
from agents.leases import Claim, claim_stalled, release
from agents.models import AgentExecution, ExecutionEvent, PhaseTransition
from agents.phases import AgentExecutionPhase
from agents.runs import Outcome, RunWrite, Transition
from agents.transactions import commit
from tests.runs import LEASE, make_claim, make_user, read_run, read_seqs, read_transitions

pytestmark = pytest.mark.django_db

_P = AgentExecutionPhase
AT = datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC)


def write_of(
    claim: Claim, *, seqs: range, steps: int = 0, phase: AgentExecutionPhase | None = None, **state
) -> RunWrite:
    before = claim.state
    transitions = [
        Transition(
            ordinal=before.phase_count + number,
            from_phase=_P.CREATED,
            to_phase=_P.WEBSOCKET_SETUP,
            at=AT,
            duration_ms=1.5,
            event_seq=None,
        )
        for number in range(1, steps + 1)
    ]
    after = msgspec.structs.replace(
        before,
        phase=phase or before.phase,
        last_seq=before.last_seq + len(seqs),
        phase_count=before.phase_count + steps,
        last_progress_at=AT,
        **state,
    )
    return RunWrite(
        run=claim.run,
        expected_seq=before.last_seq,
        expected_phase_count=before.phase_count,
        state=after,
        frames=[Frame(seq, "agent_thinking", f'{{"seq":{seq}}}', AT) for seq in seqs],
        transitions=transitions,
    )


def ending_of(claim: Claim) -> RunWrite:
    outcome = Outcome(at=AT, result='{"success":false}', warnings=["w"], error_code="c", error_message="m")
    write = write_of(claim, seqs=range(1, 2), steps=1, phase=_P.FAILED, outcome=outcome)
    write.frames = [Frame(1, "agent_completed", "{}", AT)]
    return write


@pytest.fixture
def claim():
    return make_claim()


def test_a_write_moves_the_record_and_adds_its_rows(claim):
    fenced = commit([write_of(claim, seqs=range(1, 4), steps=1, phase=_P.WEBSOCKET_SETUP, started_at=AT)])

    run = read_run(claim.run.run_id)
    assert fenced == set()
    assert (run.status, run.phase, run.last_seq, run.phase_count) == ("running", "websocket_setup", 3, 1)
    assert run.started_at == run.last_progress_at == AT
    assert run.completed_at is None
    assert read_seqs(run.run_id) == [1, 2, 3]
    assert ExecutionEvent.objects.values_list("frame", flat=True)[0] == '{"seq":1}'
    assert [(row.ordinal, row.at, row.duration_ms) for row in read_transitions(run.run_id)] == [(1, AT, 1.5)]


def test_an_end_is_noted_with_its_outcome_and_gives_the_lease_back(claim):
    assert commit([ending_of(claim)]) == set()

    run = read_run(claim.run.run_id)
    assert (run.status, run.phase, run.last_seq, run.completed_seq) == ("failed", "failed", 1, 1)
    assert (run.completed_at, run.lease_expires_at) == (AT, None)
    assert (run.result, run.warnings, run.error_code, run.error_message) == ('{"success":false}', ["w"], "c", "m")


def test_an_older_attempt_writes_nothing(claim):
    release(owner=claim.run.run_id)
    AgentExecution.objects.filter(pk=claim.run.pk).update(attempt=2)

    assert commit([write_of(claim, seqs=range(1, 3), steps=1)]) == {claim.run.pk}
    assert commit([ending_of(claim)]) == {claim.run.pk}

    assert (read_run(claim.run.run_id).last_seq, read_run(claim.run.run_id).status) == (0, "pending")
    assert not ExecutionEvent.objects.exists()
    assert not PhaseTransition.objects.exists()


@pytest.mark.parametrize("changed", [{"last_seq": 7}, {"phase_count": 7}])
def test_a_writer_with_another_idea_of_the_run_writes_nothing(claim, changed):
    AgentExecution.objects.filter(pk=claim.run.pk).update(**changed)

    assert commit([write_of(claim, seqs=range(1, 3), steps=1)]) == {claim.run.pk}
    assert commit([ending_of(claim)]) == {claim.run.pk}
    assert not ExecutionEvent.objects.exists()


def test_a_run_that_has_ended_takes_nothing_more(claim):
    commit([ending_of(claim)])
    late = msgspec.structs.replace(claim, state=msgspec.structs.replace(claim.state, last_seq=1, phase_count=1))

    assert commit([write_of(late, seqs=range(2, 4))]) == {claim.run.pk}

    assert read_seqs(claim.run.run_id) == [1]
    assert read_run(claim.run.run_id).status == "failed"


def test_writing_the_same_again_is_harmless(claim):
    for write in (write_of(claim, seqs=range(1, 3), steps=1, phase=_P.WEBSOCKET_SETUP),) * 2:
        assert commit([write]) == set()

    assert read_seqs(claim.run.run_id) == [1, 2]
    assert len(read_transitions(claim.run.run_id)) == 1


def test_ending_the_same_again_is_harmless(claim):
    for write in (ending_of(claim),) * 2:
        assert commit([write]) == set()

    assert read_seqs(claim.run.run_id) == [1]


def test_a_taken_over_run_fences_its_old_worker(claim):
    release(owner="worker_1")  # nothing written yet: it waits again
    AgentExecution.objects.filter(pk=claim.run.pk).update(owner="worker_1", lease_expires_at=AT)
    (taken,) = claim_stalled(owner="worker_2", slots=1, now=datetime.now(UTC), lease=LEASE)

    assert commit([write_of(claim, seqs=range(1, 2))]) == {claim.run.pk}
    assert commit([write_of(taken, seqs=range(1, 3))]) == set()
    assert read_seqs(claim.run.run_id) == [1, 2]


def test_a_fenced_run_does_not_hold_up_the_others(claim):
    other = make_claim(claim.run.user_id)
    AgentExecution.objects.filter(pk=claim.run.pk).update(attempt=5)

    fenced = commit([write_of(claim, seqs=range(1, 3)), write_of(other, seqs=range(1, 3)), ending_of(make_claim())])

    assert fenced == {claim.run.pk}
    assert read_seqs(claim.run.run_id) == []
    assert read_seqs(other.run.run_id) == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_when_the_database_refuses_a_row_nothing_at_all_is_written():
    claims = [make_claim(make_user()) for _ in range(2)]
    bad = write_of(claims[1], seqs=range(1, 3))
    bad.frames = [*bad.frames, bad.frames[0]]

    with pytest.raises(IntegrityError):
        commit([write_of(claims[0], seqs=range(1, 3), steps=1), bad])

    assert not ExecutionEvent.objects.exists()
    assert not PhaseTransition.objects.exists()
    assert {run.last_seq for run in AgentExecution.objects.all()} == {0}


def test_a_large_batch_of_many_runs_is_one_commit():
    user = make_user()
    claims = [make_claim(user) for _ in range(40)]

    assert commit([write_of(claim, seqs=range(1, 26), steps=1) for claim in claims]) == set()

    assert ExecutionEvent.objects.count() == 1_000
    assert all(read_seqs(claim.run.run_id) == [*range(1, 26)] for claim in claims)


def test_nothing_to_write_is_nothing_written():
    assert commit([]) == set()
