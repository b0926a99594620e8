from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from agents.execution import CANCELLED, LOST
from agents.leases import Claim
from agents.phases import TERMINAL, AgentExecutionPhase
from agents.runs import Run, RunRequest, RunState
from agents.watchdog import MAX_ATTEMPTS, ending_of_stalled

AT = datetime(2026, 11, 21, tzinfo=UTC)
LIVE = [phase for phase in AgentExecutionPhase if phase not in TERMINAL]


def claim(phase: AgentExecutionPhase, *, attempt: int = 2, restartable: bool = True, cancel: bool = False) -> Claim:
    run = Run(
        pk=1,
        run_id="run_1",
        thread_id="thread_1",
        parent_run_id=None,
        user_id=1,
        agent_name="test",
        request=RunRequest(agent="test", message="Go."),
        correlation_id="corr_1",
        tier="free",
        timeout=40.0,
        attempt=attempt,
        created_at=AT,
    )
    state = RunState(phase=phase, last_seq=2, phase_count=4, phase_entered_at=AT, last_progress_at=AT)
    return Claim(run=run, tries=attempt, state=state, restartable=restartable, cancel_requested=cancel, deadline_at=AT)


@pytest.mark.parametrize("phase", LIVE)
def test_a_run_that_was_to_be_cancelled_is_cancelled(phase):
    assert ending_of_stalled(claim(phase, cancel=True)) == CANCELLED


@pytest.mark.parametrize("phase", LIVE)
def test_a_run_that_may_not_be_tried_again_is_lost_unless_it_never_began(phase):
    expected = None if phase is AgentExecutionPhase.CREATED else LOST

    assert ending_of_stalled(claim(phase, restartable=False)) == expected


@pytest.mark.parametrize("phase", LIVE)
def test_a_restartable_run_is_tried_again_while_its_agent_works(phase):
    closing = phase in (AgentExecutionPhase.RESULT_PROCESSING, AgentExecutionPhase.COMPLETING)

    assert ending_of_stalled(claim(phase)) == (LOST if closing else None)


@pytest.mark.parametrize("phase", LIVE)
def test_three_attempts_are_enough(phase):
    assert MAX_ATTEMPTS == 3
    assert ending_of_stalled(claim(phase, attempt=4)) == LOST
    assert ending_of_stalled(claim(phase, attempt=3)) == ending_of_stalled(claim(phase, attempt=2))


@pytest.mark.parametrize("phase", LIVE)
def test_attempts_that_ended_because_their_worker_stopped_do_not_count(phase):
    seventh = replace(claim(phase, attempt=7), tries=3)

    assert ending_of_stalled(seventh) == ending_of_stalled(claim(phase, attempt=2))
