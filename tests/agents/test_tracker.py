import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.database import in_database
from agents.errors import Fenced, IllegalEvent, IllegalTransition, NotReady, UnknownExecution
from agents.events import (
    AgentCompleted,
    AgentStarted,
    AgentThinking,
    PartialResult,
    Problem,
    RunMetadata,
    RunRecovered,
    RunResult,
    ToolCompleted,
    ToolExecuting,
    ToolProgress,
)
from agents.leases import EXPIRED, Claim, claim_stalled
from agents.models import AgentExecution
from agents.phases import TERMINAL, AgentExecutionPhase
from agents.tracker import AgentExecutionTracker, _process_tracker, get_execution_tracker, set_execution_tracker
from tests.runs import (
    LEASE,
    Workshop,
    read_log,
    read_run,
    read_seqs,
    read_transitions,
    start_thinking,
)

pytestmark = pytest.mark.django_db(transaction=True)

_P = AgentExecutionPhase

STARTED = AgentStarted(message="Go.", attempt=1, timeout=40.0, tier="free", streaming=False, correlation_id="corr_1")
THINKING = AgentThinking(reasoning="Hm.", step_number=1)
EXECUTING = ToolExecuting(tool_call_id="tool_1", tool_name="echo", arguments={})
TOOL_DONE = ToolCompleted(tool_call_id="tool_1", tool_name="echo", status="success", duration_ms=1.0, result=None)


def completed(status: Any = "completed", error: Problem | None = None) -> AgentCompleted:
    metadata = RunMetadata(correlation_id="corr_1", run_id="run_1", timeout=40.0, tier="free", streaming=False)
    result = RunResult(
        success=status == "completed", output=1, total_duration_ms=1.0, phase_count=9, warnings=["w"], metadata=metadata
    )
    return AgentCompleted(status=status, result=result, error=error, execution_time_ms=1.0)


async def walk(workshop: Workshop, run_id: str, *steps: tuple[AgentExecutionPhase, Any]) -> None:
    for phase, event in steps:
        await workshop.tracker.update_execution_state(run_id, phase, event)


TO_THINKING = (
    (_P.WEBSOCKET_SETUP, None),
    (_P.CONTEXT_VALIDATION, None),
    (_P.STARTING, STARTED),
    (_P.THINKING, THINKING),
)


async def thinking_run(workshop: Workshop) -> str:
    claim = await workshop.tracked()
    await walk(workshop, claim.run.run_id, *TO_THINKING)
    return claim.run.run_id


async def test_a_run_with_one_tool_leaves_nine_transitions_that_name_their_events(workshop):
    run_id, tracker = await thinking_run(workshop), workshop.tracker
    await tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)
    await tracker.record_event(run_id, TOOL_DONE)
    await walk(workshop, run_id, (_P.RESULT_PROCESSING, None), (_P.COMPLETING, None))
    await tracker.complete_execution(run_id, _P.COMPLETED, completed())

    rows = await in_database(read_transitions, run_id)
    assert [(row.ordinal, row.from_phase, row.to_phase, row.event_seq) for row in rows] == [
        (1, "created", "websocket_setup", None),
        (2, "websocket_setup", "context_validation", None),
        (3, "context_validation", "starting", 1),
        (4, "starting", "thinking", 2),
        (5, "thinking", "tool_preparation", None),
        (6, "tool_preparation", "tool_execution", 3),
        (7, "tool_execution", "result_processing", None),
        (8, "result_processing", "completing", None),
        (9, "completing", "completed", 5),
    ]
    assert all(row.duration_ms >= 0 for row in rows)
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    log = await in_database(read_log, run_id)
    assert [frame["type"] for frame in log] == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    assert [frame["seq"] for frame in log] == [1, 2, 3, 4, 5]
    run = await in_database(read_run, run_id)
    assert (run.phase_count, run.last_seq, run.completed_seq, run.status) == (9, 5, 5, "completed")


async def test_a_transition_lasted_as_long_as_the_run_was_in_its_phase(workshop):
    run_id = await thinking_run(workshop)
    await asyncio.sleep(0.05)
    await workshop.tracker.update_execution_state(run_id, _P.RESULT_PROCESSING)
    await workshop.journal.drain()

    rows = await in_database(read_transitions, run_id)

    assert rows[-1].duration_ms >= 49
    assert rows[-1].duration_ms == pytest.approx((rows[-1].at - rows[-2].at).total_seconds() * 1000, abs=0.01)


async def test_the_status_in_the_database_follows_the_phase(workshop):
    claim = await workshop.tracked()
    seen = [(await in_database(read_run, claim.run.run_id)).status]
    for phase, event in TO_THINKING:
        await workshop.tracker.update_execution_state(claim.run.run_id, phase, event)
        await workshop.journal.drain()
        run = await in_database(read_run, claim.run.run_id)
        assert run.phase == phase
        seen.append(run.status)
    await workshop.tracker.complete_execution(claim.run.run_id, _P.FAILED, completed("failed"))

    assert seen == ["pending"] + ["running"] * 4
    assert (await in_database(read_run, claim.run.run_id)).status == "failed"


async def test_an_illegal_transition_raises_and_writes_nothing(workshop):
    run_id = await thinking_run(workshop)
    before = workshop.tracker.get_state(run_id)

    with pytest.raises(IllegalTransition):
        await workshop.tracker.update_execution_state(run_id, _P.COMPLETING)
    with pytest.raises(IllegalTransition):
        await workshop.tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING)

    await workshop.journal.drain()
    assert workshop.tracker.get_state(run_id) == before
    assert (await in_database(read_run, run_id)).phase == "thinking"
    assert await in_database(read_seqs, run_id) == [1, 2]


async def test_a_phase_cannot_be_gone_through_on_an_illegal_way(workshop):
    claim = await workshop.tracked()

    with pytest.raises(IllegalTransition):
        await workshop.tracker.update_execution_state(
            claim.run.run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION
        )

    assert workshop.tracker.get_state(claim.run.run_id) == claim.state


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (_P.RESULT_PROCESSING, THINKING),
        (_P.TOOL_PREPARATION, EXECUTING),
        (_P.LLM_INTERACTION, THINKING),
        (_P.AWAITING_APPROVAL, None),
    ],
)
async def test_a_phase_is_entered_with_its_own_event_or_not_at_all(workshop, phase, event):
    run_id = await thinking_run(workshop)

    with pytest.raises(IllegalEvent):
        await workshop.tracker.update_execution_state(run_id, phase, event)

    assert workshop.tracker.get_state(run_id).phase is _P.THINKING


async def test_agent_started_cannot_be_left_out(workshop):
    claim = await workshop.tracked()
    await walk(workshop, claim.run.run_id, *TO_THINKING[:2])

    with pytest.raises(IllegalEvent, match="agent_started"):
        await workshop.tracker.update_execution_state(claim.run.run_id, _P.STARTING)


async def test_staying_in_a_phase_is_an_event_without_a_row_of_history(workshop):
    run_id = await thinking_run(workshop)

    await workshop.tracker.record_event(run_id, AgentThinking(reasoning="And?", step_number=2))
    await workshop.journal.drain()

    assert len(await in_database(read_transitions, run_id)) == 4
    assert await in_database(read_seqs, run_id) == [1, 2, 3]


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        EXECUTING,
        TOOL_DONE,
        ToolProgress(tool_call_id="tool_9", message="…"),
        PartialResult(message_id="msg_1", delta="a", is_complete=False),
        RunRecovered(attempt=1, reason="r"),
        completed(),
    ],
    ids=lambda event: event.type,
)
async def test_an_event_that_the_phase_does_not_allow_raises_and_writes_nothing(workshop, event):
    run_id = await thinking_run(workshop)

    with pytest.raises(IllegalEvent):
        await workshop.tracker.record_event(run_id, event)

    await workshop.journal.drain()
    assert await in_database(read_seqs, run_id) == [1, 2]


async def test_a_tool_call_begins_once_and_ends_once(workshop):
    run_id, tracker = await thinking_run(workshop), workshop.tracker
    await tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)

    with pytest.raises(IllegalEvent, match="open already"):
        await tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)
    await tracker.record_event(run_id, TOOL_DONE)
    with pytest.raises(IllegalEvent):
        await tracker.record_event(run_id, TOOL_DONE)
    with pytest.raises(IllegalEvent, match="no tool call tool_1 is open"):
        tracker.open_call(run_id, "tool_1")

    assert await in_database(read_seqs, run_id) == [1, 2, 3, 4]


async def test_a_tool_call_may_report_and_end_in_another_phase(workshop):
    run_id, tracker = await thinking_run(workshop), workshop.tracker
    await tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)
    await tracker.update_execution_state(run_id, _P.THINKING, THINKING)

    await tracker.record_event(run_id, ToolProgress(tool_call_id="tool_1", message="Half."))
    await tracker.record_event(run_id, TOOL_DONE)

    assert await in_database(read_seqs, run_id) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (_P.COMPLETED, "cancelled", "cancelled"),
        (_P.FAILED, "cancelled", "cancelled"),
        (_P.CANCELLED, "cancelled", "cancelled"),
        (_P.TIMED_OUT, "timed_out", "timed_out"),
        (_P.LOST, "error", "lost"),
    ],
)
async def test_a_run_that_ends_closes_its_open_tool_calls_first(workshop, end, status, code):
    run_id, tracker = await thinking_run(workshop), workshop.tracker
    await tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)
    if end is _P.COMPLETED:
        await walk(workshop, run_id, (_P.RESULT_PROCESSING, None), (_P.COMPLETING, None))

    await tracker.complete_execution(run_id, end, completed(end.value))

    *_, closed, last = await in_database(read_log, run_id)
    assert closed["type"] == "tool_completed"
    assert (closed["data"]["status"], closed["data"]["error"]["code"]) == (status, code)
    assert (closed["data"]["tool_call_id"], closed["data"]["tool_name"]) == ("tool_1", "echo")
    assert closed["data"]["duration_ms"] >= 0
    assert last["type"] == "agent_completed"


@pytest.mark.parametrize("phase", sorted(TERMINAL))
async def test_a_run_is_ended_only_with_its_outcome(workshop, phase):
    run_id = await thinking_run(workshop)

    with pytest.raises(IllegalEvent, match="complete_execution"):
        await workshop.tracker.update_execution_state(run_id, phase, completed(phase.value))


async def test_an_ending_must_say_what_its_phase_says(workshop):
    run_id = await thinking_run(workshop)

    with pytest.raises(IllegalEvent):
        await workshop.tracker.complete_execution(run_id, _P.FAILED, completed("lost"))
    with pytest.raises(IllegalEvent):
        await workshop.tracker.complete_execution(run_id, _P.THINKING, completed("completed"))
    with pytest.raises(IllegalTransition):
        await workshop.tracker.complete_execution(run_id, _P.COMPLETED, completed("completed"))

    await workshop.tracker.complete_execution(run_id, _P.FAILED, completed("failed"))


async def test_a_run_that_has_ended_never_changes_again(workshop):
    run_id, tracker = await thinking_run(workshop), workshop.tracker
    await tracker.complete_execution(run_id, _P.FAILED, completed("failed", Problem("broken", "It broke.\0")))
    before = await in_database(AgentExecution.objects.values().get, run_id=run_id)

    for again in (
        lambda: tracker.complete_execution(run_id, _P.FAILED, completed("failed")),
        lambda: tracker.complete_execution(run_id, _P.LOST, completed("lost")),
        lambda: tracker.update_execution_state(run_id, _P.THINKING, THINKING),
        lambda: tracker.record_event(run_id, THINKING),
    ):
        with pytest.raises(UnknownExecution):
            await again()
    with pytest.raises(UnknownExecution):
        tracker.get_state(run_id)

    await workshop.journal.drain()
    assert await in_database(AgentExecution.objects.values().get, run_id=run_id) == before
    assert before["error_message"] == "It broke."
    assert (before["error_code"], before["warnings"]) == ("broken", ["w"])


async def test_two_endings_at_once_are_one(workshop):
    run_id, tracker = await thinking_run(workshop), workshop.tracker

    answers = await asyncio.gather(
        *(tracker.complete_execution(run_id, end, completed(end.value)) for end in (_P.FAILED, _P.CANCELLED, _P.LOST)),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [type(None), UnknownExecution, UnknownExecution]
    assert [frame["type"] for frame in await in_database(read_log, run_id)].count("agent_completed") == 1
    assert (await in_database(read_run, run_id)).status == "failed"


async def test_an_unknown_run_raises(workshop):
    claim = await workshop.claim()

    for ask in (
        lambda: workshop.tracker.update_execution_state(claim.run.run_id, _P.WEBSOCKET_SETUP),
        lambda: workshop.tracker.record_event("run_x", THINKING),
        lambda: workshop.tracker.complete_execution("", _P.LOST, completed("lost")),
    ):
        with pytest.raises(UnknownExecution):
            await ask()


@pytest.mark.parametrize("phase", ["websocket_setup", None, 1, "x"])
async def test_a_phase_of_another_type_raises(workshop, phase):
    claim = await workshop.tracked()

    with pytest.raises(TypeError, match="AgentExecutionPhase"):
        await workshop.tracker.update_execution_state(claim.run.run_id, phase)


@pytest.mark.parametrize("claim", [None, "run_1", {}])
async def test_a_claim_of_another_type_raises(workshop, claim):
    with pytest.raises(TypeError, match="Claim"):
        workshop.tracker.start_execution(claim)


async def test_an_event_that_somebody_acts_on_is_committed_when_the_call_returns(workshop):
    run_id, tracker = await thinking_run(workshop), workshop.tracker

    await tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)
    assert await in_database(read_seqs, run_id) == [1, 2, 3]
    await tracker.record_event(run_id, TOOL_DONE)
    assert await in_database(read_seqs, run_id) == [1, 2, 3, 4]
    await tracker.complete_execution(run_id, _P.LOST, completed("lost"))
    assert await in_database(read_seqs, run_id) == [1, 2, 3, 4, 5]


async def test_a_worker_whose_run_was_taken_over_is_fenced_and_leaves_no_trace(workshop):
    run_id = await thinking_run(workshop)
    await workshop.journal.drain()
    await in_database(AgentExecution.objects.filter(run_id=run_id).update, attempt=2, owner="worker_2")

    with pytest.raises(Fenced):
        await workshop.tracker.update_execution_state(run_id, _P.TOOL_EXECUTION, EXECUTING, via=_P.TOOL_PREPARATION)
    with pytest.raises(Fenced):
        await workshop.tracker.complete_execution(run_id, _P.FAILED, completed("failed"))

    assert await in_database(read_seqs, run_id) == [1, 2]
    assert len(await in_database(read_transitions, run_id)) == 4
    assert (await in_database(read_run, run_id)).status == "running"


async def test_an_event_too_large_for_a_frame_is_refused_and_takes_no_seq(workshop):
    run_id = await thinking_run(workshop)

    with pytest.raises(ValueError, match="over 262,144 bytes"):
        await workshop.tracker.record_event(run_id, AgentThinking(reasoning="x" * 300_000, step_number=2))
    await workshop.tracker.record_event(run_id, AgentThinking(reasoning="x", step_number=2))
    await workshop.journal.drain()

    assert await in_database(read_seqs, run_id) == [1, 2, 3]


async def test_a_takeover_goes_on_where_the_log_ends(workshop):
    run_id = await thinking_run(workshop)
    await workshop.journal.drain()

    def take_over() -> Claim:
        AgentExecution.objects.filter(run_id=run_id).update(lease_expires_at=EXPIRED)
        (claim,) = claim_stalled(owner="worker_2", slots=1, now=datetime.now(UTC), lease=LEASE)
        return claim

    claim = await in_database(take_over)
    workshop.tracker.start_execution(claim, open_calls={"tool_9": ("echo", datetime.now(UTC))})
    await workshop.tracker.record_event(run_id, RunRecovered(attempt=2, reason="r"))
    await workshop.tracker.complete_execution(run_id, _P.LOST, completed("lost"))

    log = await in_database(read_log, run_id)
    assert [frame["seq"] for frame in log] == [1, 2, 3, 4, 5]
    assert [frame["type"] for frame in log[2:]] == ["run_recovered", "tool_completed", "agent_completed"]


async def test_a_forgotten_run_is_unknown_and_forgetting_twice_is_harmless(workshop):
    run_id = await thinking_run(workshop)

    workshop.tracker.stop_tracking(run_id)
    workshop.tracker.stop_tracking(run_id)

    with pytest.raises(UnknownExecution):
        workshop.tracker.get_state(run_id)


async def test_parallel_writers_of_one_run_share_one_order(workshop):
    claim = await workshop.tracked()
    notifier = await start_thinking(workshop, claim)

    async def call(number: int) -> None:
        await notifier.notify_tool_executing(f"tool_{number}", "echo", {"n": number})
        await asyncio.sleep(0)
        await notifier.notify_tool_completed(f"tool_{number}", status="success", result=number)

    await asyncio.gather(*(call(number) for number in range(30)))
    await workshop.journal.drain()

    log = await in_database(read_log, claim.run.run_id)
    assert [frame["seq"] for frame in log] == [*range(1, 63)]
    assert await in_database(read_seqs, claim.run.run_id) == [*range(1, 63)]
    assert workshop.bridge.frames(claim.run.run_id) == log


def test_a_process_has_a_tracker_once_it_is_put_together(monkeypatch):
    before = list(_process_tracker)
    _process_tracker.clear()
    try:
        with pytest.raises(NotReady):
            get_execution_tracker()
        tracker = AgentExecutionTracker.__new__(AgentExecutionTracker)
        set_execution_tracker(tracker)
        assert get_execution_tracker() is tracker
    finally:
        _process_tracker[:] = before
