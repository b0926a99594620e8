import asyncio
import json

import pytest

from agents.database import in_database
from agents.errors import IllegalEvent, UnknownExecution
from agents.events import MAX_FRAME_BYTES, Problem
from agents.phases import AgentExecutionPhase
from tests.runs import read_log, read_transitions, start_thinking

pytestmark = pytest.mark.django_db(transaction=True)

_P = AgentExecutionPhase


@pytest.fixture
async def claim(workshop):
    return await workshop.tracked()


@pytest.fixture
async def notifier(workshop, claim):
    return await start_thinking(workshop, claim)


async def log_of(workshop, claim):
    await workshop.journal.drain()
    return await in_database(read_log, claim.run.run_id)


async def end(notifier, phase=_P.FAILED, **changes):
    told = {"output": None, "error": None, "warnings": [], "streaming": False} | changes
    await notifier.notify_agent_completed(phase, **told)


async def test_a_second_thought_in_a_row_is_an_event_without_a_transition(workshop, claim, notifier):
    await notifier.notify_agent_thinking("Two.")
    log = await log_of(workshop, claim)

    assert [frame["data"].get("step_number") for frame in log] == [None, 1, 2]
    assert len(await in_database(read_transitions, claim.run.run_id)) == 4


async def test_steps_go_on_from_those_of_earlier_attempts(workshop, claim):
    await start_thinking(workshop, claim)
    later = workshop.bridge.create_notifier(workshop.tracker, claim.run, steps_before=7)
    await later.notify_agent_thinking("Eight.")

    assert (await log_of(workshop, claim))[-1]["data"]["step_number"] == 8


async def test_a_tool_call_walks_its_phases_while_it_runs(workshop, claim, notifier):
    await notifier.notify_tool_executing("tool_1", "echo", {"api_key": "needle", "text": "a"})
    assert workshop.tracker.get_state(claim.run.run_id).phase is _P.TOOL_EXECUTION
    await notifier.notify_tool_progress("tool_1", "Half.", progress_percentage=50.0)
    await asyncio.sleep(0.02)
    await notifier.notify_tool_completed("tool_1", status="success", result={"Cookie": "needle"})

    executing, progress, done = (await log_of(workshop, claim))[2:]
    assert executing["data"]["arguments"] == {"api_key": "[redacted]", "text": "a"}
    assert progress["data"] == {"tool_call_id": "tool_1", "message": "Half.", "progress_percentage": 50.0}
    assert done["data"]["result"] == {"Cookie": "[redacted]"}
    assert done["data"]["duration_ms"] >= 19
    assert done["data"]["tool_name"] == "echo"


async def test_an_argument_that_is_not_json_is_shown_by_its_type(workshop, claim, notifier):
    await notifier.notify_tool_executing("tool_1", "echo", {"thing": object(), "text": "a"})

    assert (await log_of(workshop, claim))[-1]["data"]["arguments"] == {"thing": "(object)", "text": "a"}


async def test_a_result_that_is_not_json_raises_and_leaves_the_call_open(workshop, claim, notifier):
    await notifier.notify_tool_executing("tool_1", "echo", {})
    with pytest.raises(TypeError):
        await notifier.notify_tool_completed("tool_1", status="success", result=object())
    await notifier.notify_tool_completed("tool_1", status="error", error=Problem("bad", "Bad."))

    data = (await log_of(workshop, claim))[-1]["data"]
    assert (data["status"], data["error"]) == ("error", {"code": "bad", "message": "Bad."})
    assert "result" not in data


async def test_the_end_of_a_call_that_is_not_open_is_refused(notifier):
    with pytest.raises(IllegalEvent):
        await notifier.notify_tool_completed("tool_9", status="success")


async def test_whatever_its_size_every_event_fits_into_a_frame(workshop, claim, notifier):
    huge = '"\\\n💥' * 200_000
    await notifier.notify_agent_thinking(huge)
    await notifier.notify_tool_executing("tool_1", huge, {"text": huge})
    await notifier.notify_tool_progress("tool_1", huge)
    await notifier.notify_tool_completed("tool_1", status="success", result={"rows": [huge]})
    await notifier.notify_partial_result("msg_1", huge, is_complete=True)
    await end(notifier, output={"text": huge}, error=Problem("x" * 100, huge), warnings=[huge] * 50)

    log = await log_of(workshop, claim)
    sizes = [len(json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()) for frame in log]
    parts = [frame["data"] for frame in log if frame["type"] == "partial_result"]
    assert max(sizes) <= MAX_FRAME_BYTES
    assert "".join(part["delta"] for part in parts) == huge
    assert [part["is_complete"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert log[-1]["type"] == "agent_completed"


async def test_texts_that_are_no_unicode_are_told_all_the_same(workshop, claim, notifier):
    await notifier.notify_agent_thinking("a\ud800b")
    await notifier.notify_partial_result("msg_1", "c\udcffd", is_complete=True)
    await end(notifier, error=Problem("x", "e\ud800f"))

    texts = json.dumps(await log_of(workshop, claim))
    assert "a?b" in texts
    assert "c?d" in texts
    assert "e?f" in texts


async def test_the_end_counts_its_own_transition(workshop, claim, notifier):
    await end(notifier)

    last = (await log_of(workshop, claim))[-1]
    assert last["data"]["result"]["phase_count"] == len(await in_database(read_transitions, claim.run.run_id)) == 5


async def test_a_closed_notifier_tells_nothing_more(workshop, claim, notifier):
    before = await log_of(workshop, claim)
    notifier.close()

    with pytest.raises(UnknownExecution):
        await notifier.notify_agent_thinking("Still there.")

    assert await log_of(workshop, claim) == before
