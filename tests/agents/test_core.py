"""Whatever an agent does, its run ends in exactly one agent_completed that says what happened."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from agents.database import in_database
from agents.desk import Desk, RemoteRunner
from agents.errors import AgentError, ToolError, UnknownExecution
from agents.execution import CANCELLED, LOST
from agents.leases import EXPIRED, claim_stalled
from agents.models import AgentExecution
from agents.tiers import TIERS
from tests.runs import LEASE, Workshop, make_terms, make_user, read_log, read_run, read_transitions, until

pytestmark = pytest.mark.django_db(transaction=True)


def check(log: list[dict[str, Any]], status: str, code: str | None = None) -> dict[str, Any]:
    """The laws of every run's log; returns the data of its agent_completed."""
    types = [frame["type"] for frame in log]
    assert [frame["seq"] for frame in log] == [*range(1, len(log) + 1)]
    assert types.count("agent_completed") == 1
    assert types[-1] == "agent_completed"
    assert types.count("agent_started") == (1 if len(log) > 1 else 0)
    open_calls: set[str] = set()
    for frame in log:
        if frame["type"] == "tool_executing":
            open_calls.add(frame["data"]["tool_call_id"])
        elif frame["type"] == "tool_completed":
            open_calls.remove(frame["data"]["tool_call_id"])
    assert not open_calls
    data: dict[str, Any] = log[-1]["data"]
    assert data["status"] == status
    assert (data["error"] or {}).get("code") == code
    assert data["result"]["success"] == (status == "completed")
    return data


async def echo(text: str) -> str:
    return text


async def hang(seconds: float = 60.0) -> None:
    await asyncio.sleep(seconds)


async def test_a_run_with_one_tool_walks_the_nine_transitions_and_says_all(workshop):
    async def execute(context):
        return {"echoed": await context.tools.call("echo", text="hello")}

    workshop.add_agent(execute, tools=[echo], streaming=True)
    claim = await workshop.claim(message="Say hello.", terms=make_terms(timeout=7.0, tier="mid"))
    log = await workshop.execute(claim)

    rows = await in_database(read_transitions, claim.run.run_id)
    phases = (
        "created websocket_setup context_validation starting thinking tool_preparation tool_execution"
        " result_processing completing completed"
    ).split()
    assert [(row.ordinal, row.from_phase, row.to_phase) for row in rows] == [
        (number, *steps) for number, steps in enumerate(itertools.pairwise(phases), 1)
    ]
    assert [row.event_seq for row in rows] == [None, None, 1, 2, None, 3, None, None, 5]
    assert all(row.duration_ms >= 0 for row in rows)

    data = check(log, "completed")
    run = await in_database(read_run, claim.run.run_id)
    assert [frame["type"] for frame in log] == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    assert log[0]["data"] == {
        "message": "Say hello.",
        "attempt": 1,
        "timeout": 7.0,
        "tier": "mid",
        "streaming": True,
        "correlation_id": run.correlation_id,
    }
    assert data["result"] == {
        "success": True,
        "output": {"echoed": "hello"},
        "total_duration_ms": data["result"]["total_duration_ms"],
        "phase_count": 9,
        "warnings": [],
        "metadata": {
            "correlation_id": run.correlation_id,
            "run_id": claim.run.run_id,
            "timeout": 7.0,
            "tier": "mid",
            "streaming": True,
        },
    }
    assert 0 <= data["execution_time_ms"] <= data["result"]["total_duration_ms"]
    assert {frame["run_id"] for frame in log} == {claim.run.run_id}
    assert {frame["thread_id"] for frame in log} == {claim.run.thread_id} != {claim.run.run_id}
    assert (run.status, run.phase_count, run.last_seq, run.completed_seq) == ("completed", 9, 5, 5)
    assert run.completed_at is not None
    assert workshop.bridge.frames(claim.run.run_id) == log


NOT_A_NUMBER = [float("nan")]


@pytest.mark.parametrize("value", [None, 0, "", [], "text", {"a": [1]}, *NOT_A_NUMBER])
async def test_whatever_json_an_agent_returns_is_its_answer(workshop, value):
    async def execute(context):
        return value

    data = check(await workshop.run(execute), "completed")

    assert data["result"]["output"] == (None if value in NOT_A_NUMBER else value)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("needle"), "internal", "The agent failed with an error of its own."),
        (AgentError("no_table", "There is no table."), "no_table", "There is no table."),
        (ToolError("t", "A tool."), "t", "A tool."),
        (SystemExit("needle"), "internal", "The agent failed with an error of its own."),
        (asyncio.CancelledError(), "cancelled_itself", None),
        (TimeoutError("needle"), "internal", None),
        (ExceptionGroup("needle", [ValueError("needle")]), "internal", None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_agent_that_raises_has_failed_with_a_message_for_people(workshop, error, code, message):
    async def execute(context):
        raise error

    log = await workshop.run(execute)

    data = check(log, "failed", code)
    assert message in (None, data["error"]["message"])
    assert data["result"]["output"] is None
    assert "needle" not in repr(log)
    assert "Traceback" not in repr(log)
    run = await in_database(read_run, log[0]["run_id"])
    assert (run.status, run.error_code) == ("failed", code)


@pytest.mark.parametrize("value", [object(), {"a": {1j}}, "\ud800"], ids=["object", "complex", "surrogate"])
async def test_an_answer_that_is_not_json_is_a_failure(workshop, value):
    async def execute(context):
        return value

    check(await workshop.run(execute), "failed", "invalid_result")


async def test_an_agent_that_cannot_be_made_has_failed(workshop):
    class Agent:
        def __init__(self) -> None:
            raise ValueError("needle")

        async def execute(self, context): ...

    workshop.registry.register_agent_safely("test", Agent)
    log = await workshop.execute(await workshop.claim())

    check_only_end(log, "failed", "internal")


def check_only_end(log: list[dict[str, Any]], status: str, code: str) -> None:
    """A run that ends before it starts has agent_completed alone."""
    assert [(frame["type"], frame["seq"]) for frame in log] == [("agent_completed", 1)]
    data = check(log, status, code)
    assert data["execution_time_ms"] == 0


async def test_an_agent_that_is_gone_ends_its_run(workshop):
    check_only_end(await workshop.execute(await workshop.claim(agent="gone")), "failed", "unknown_agent")


async def test_a_user_who_is_not_active_any_more_gets_no_agent(workshop):
    async def execute(context):
        return 1

    workshop.add_agent(execute)
    user = await in_database(make_user)
    claim = await workshop.claim(user)
    await in_database(deactivate, user)

    check_only_end(await workshop.execute(claim), "failed", "user_inactive")


def deactivate(user: int) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415

    get_user_model().objects.filter(pk=user).update(is_active=False)


async def test_an_agent_that_never_returns_is_timed_out(workshop):
    async def execute(context):
        await asyncio.sleep(60)

    log = await workshop.run(execute, timeout=1.5)

    data = check(log, "timed_out", "timed_out")
    assert "1.5 s" in data["error"]["message"]
    assert data["result"]["metadata"]["timeout"] == 1.5
    assert data["execution_time_ms"] > 0


async def test_a_tool_that_runs_when_time_is_over_is_closed(workshop):
    async def execute(context):
        await context.tools.call("hang")

    log = await workshop.run(execute, timeout=1.0, tools=[hang])

    check(log, "timed_out", "timed_out")
    assert log[-2]["type"] == "tool_completed"


async def test_an_agent_that_swallows_cancellation_is_left_behind_and_writes_no_more(workshop):
    tries: list[str] = []
    over = asyncio.Event()

    async def execute(context):
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                tries.append("cancelled")
        try:
            await context.think("needle")
        except Exception as error:
            tries.append(type(error).__name__)

    log = await workshop.run(execute, timeout=1.0)
    over.set()
    await until(lambda: "UnknownExecution" in tries)

    check(log, "timed_out", "timed_out")
    assert "needle" not in repr(await in_database(read_log, log[0]["run_id"]))


async def test_an_agent_that_answers_a_cancel_with_a_result_is_cancelled_all_the_same(workshop):
    async def execute(context):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done anyway"

    workshop.add_agent(execute)
    log = await cancel_when(workshop, lambda log: len(log) >= 2)

    assert check(log, "cancelled", "cancelled")["result"]["output"] is None


async def cancel_when(workshop: Workshop, reached: Any, ending: Any = CANCELLED) -> list[dict[str, Any]]:
    claim = await workshop.claim()
    stop = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(workshop.execute(claim, stop))
    await until(lambda: reached(workshop.bridge.frames(claim.run.run_id)))
    stop.set_result(ending)
    return await running


async def test_what_was_streamed_is_the_output_of_a_run_that_fails(workshop):
    async def execute(context):
        async with context.stream() as stream:
            await stream.write("Half of ")
            await stream.write("the answer")
            raise ValueError("needle")

    log = await workshop.run(execute, streaming=True)

    data = check(log, "failed", "internal")
    partial = [frame["data"] for frame in log if frame["type"] == "partial_result"]
    assert data["result"]["output"] == "Half of the answer" == "".join(part["delta"] for part in partial)
    assert not any(part["is_complete"] for part in partial)
    assert "needle" not in repr(log)


async def test_what_was_streamed_is_the_output_of_a_run_that_is_cancelled(workshop):
    async def execute(context):
        async with context.stream() as stream:
            await stream.write("Half.")
            await asyncio.sleep(60)

    workshop.add_agent(execute, tools=[hang])
    log = await cancel_when(workshop, lambda log: log and log[-1]["type"] == "partial_result")

    assert check(log, "cancelled", "cancelled")["result"]["output"] == "Half."


async def test_a_cancel_in_the_middle_of_a_tool_closes_the_tool_once(workshop):
    async def execute(context):
        await context.tools.call("hang")

    workshop.add_agent(execute, tools=[hang])
    log = await cancel_when(workshop, lambda log: log and log[-1]["type"] == "tool_executing")

    check(log, "cancelled", "cancelled")
    assert log[-2]["data"]["status"] == "cancelled"


async def test_an_agent_that_is_stopped_may_tidy_up_before_its_run_ends(workshop):
    async def execute(context):
        try:
            await asyncio.sleep(60)
        finally:
            await context.think("Tidying up.")

    workshop.add_agent(execute)
    log = await cancel_when(workshop, lambda log: len(log) >= 2)

    check(log, "cancelled", "cancelled")
    assert log[-2]["data"]["reasoning"] == "Tidying up."


async def test_a_run_that_was_cancelled_before_it_began_has_agent_completed_alone(workshop):
    claim = await workshop.claim()
    stop = asyncio.get_running_loop().create_future()
    stop.set_result(CANCELLED)

    check_only_end(await workshop.execute(claim, stop), "cancelled", "cancelled")


async def test_a_run_that_is_left_for_others_ends_nothing(workshop):
    async def execute(context):
        await asyncio.sleep(60)

    workshop.add_agent(execute)
    log = await cancel_when(workshop, lambda log: len(log) >= 2, None)

    assert [frame["type"] for frame in log] == ["agent_started", "agent_thinking"]
    assert (await in_database(read_run, log[0]["run_id"])).status == "running"


async def test_a_run_without_progress_is_stopped_although_its_time_is_not_over(transactional_db):
    shop = Workshop({**TIERS, "free": replace(TIERS["free"], no_progress=0.3)})

    async def execute(context):
        for number in range(4):
            await asyncio.sleep(0.15)
            await context.think(f"{number}")
        await asyncio.sleep(60)

    log = await shop.run(execute)
    await shop.close()

    check(log, "timed_out", "no_progress")
    assert [frame["data"]["reasoning"] for frame in log[2:-1]] == ["0", "1", "2", "3"]


async def test_a_run_that_another_worker_took_writes_nothing_more(workshop):
    gate = asyncio.Event()

    async def execute(context):
        await gate.wait()
        await context.tools.call("echo", text="needle")

    workshop.add_agent(execute, tools=[echo])
    claim = await workshop.claim()
    running = asyncio.create_task(workshop.execute(claim))
    await until(lambda: len(workshop.bridge.frames(claim.run.run_id)) == 2)
    await in_database(AgentExecution.objects.update, attempt=2, owner="worker_2")
    gate.set()

    log = await running
    assert [frame["type"] for frame in log] == ["agent_started", "agent_thinking"]
    assert (await in_database(read_run, claim.run.run_id)).status == "running"


async def test_the_next_attempt_tells_of_the_recovery_and_goes_on_in_the_log(workshop):
    async def execute(context):
        if context.attempt == 1:
            async with context.stream() as stream:
                await stream.write("Lost text.")
            await context.tools.call("hang")
        await context.think("Again.")
        return context.attempt

    workshop.add_agent(execute, tools=[hang])
    first = await workshop.claim()
    stop = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(workshop.core.execute(first, stop, Desk(RemoteRunner())))
    await until(lambda: [f["type"] for f in workshop.bridge.frames(first.run.run_id)][-1:] == ["tool_executing"])
    running.cancel()
    await asyncio.wait([running])

    def take_over():
        AgentExecution.objects.update(lease_expires_at=EXPIRED)
        return claim_stalled(owner="worker_2", slots=1, now=datetime.now(UTC), lease=LEASE)[0]

    log = await workshop.execute(await in_database(take_over))

    types = [frame["type"] for frame in log]
    assert check(log, "completed")["result"]["output"] == 2
    recovery = types.index("run_recovered")
    assert log[recovery]["data"]["attempt"] == 2
    assert recovery > types.index("tool_executing")
    steps = [frame["data"]["step_number"] for frame in log if frame["type"] == "agent_thinking"]
    assert steps == [*range(1, len(steps) + 1)]


async def test_an_answer_too_large_for_an_event_is_cut_and_says_so(workshop):
    async def execute(context):
        return "é" * 300_000

    data = check(await workshop.run(execute), "completed")

    assert "[cut, 300,000 characters in all]" in data["result"]["output"]
    assert data["result"]["warnings"] == ["The answer was too large for one event and was cut."]


async def test_a_nul_may_come_from_anybody(workshop):
    """Texts of users, agents and tools; PostgreSQL takes none in its own."""

    async def execute(context):
        await context.think("a\0b")
        context.warn("c\0d")
        if context.request.params:
            raise AgentError("e\0f", "g\0h")
        return context.request.message

    workshop.add_agent(execute)
    log = await workshop.execute(await workshop.claim(message="m\0n", request_id="r\0s"))
    failed = await workshop.execute(await workshop.claim(params={"k\0": "v\0"}))

    assert (log[2]["data"]["reasoning"], log[-1]["data"]["result"]["output"]) == ("a\0b", "m\0n")
    assert failed[-1]["data"]["error"] == {"code": "e\0f", "message": "g\0h"}


async def test_a_large_answer_with_many_long_warnings_still_fits_into_its_event(workshop):
    async def execute(context):
        for _ in range(100):
            context.warn("💥" * 1_000)
        return "x" * 199_000

    data = check(await workshop.run(execute), "completed")

    assert len(data["result"]["output"]) == 199_000
    assert data["result"]["warnings"]


async def test_a_warning_that_is_no_unicode_does_not_cost_the_answer(workshop):
    async def execute(context):
        context.warn("file \udcff was skipped")
        return "done"

    assert check(await workshop.run(execute), "completed")["result"]["output"] == "done"


async def test_a_task_that_an_agent_leaves_behind_does_not_cost_the_answer(workshop):
    left: list[asyncio.Task[None]] = []

    async def go_on(context) -> None:
        while True:
            await context.think("Still there.")

    async def execute(context):
        left.append(asyncio.create_task(go_on(context)))
        await asyncio.sleep(0.05)
        return "done"

    log = await workshop.run(execute)
    left[0].cancel()

    assert check(log, "completed")["result"]["output"] == "done"


async def test_a_run_past_its_deadline_is_over_before_its_agent_begins(workshop):
    called: list[int] = []

    async def execute(context):
        called.append(1)

    workshop.add_agent(execute)
    claim = replace(await workshop.claim(), deadline_at=datetime.now(UTC) - timedelta(seconds=1))
    await in_database(AgentExecution.objects.filter(pk=claim.run.pk).update, deadline_at=claim.deadline_at)

    check(await workshop.execute(claim), "timed_out", "timed_out")
    assert called == []


async def test_the_worker_that_goes_away_says_lost(workshop):
    async def execute(context):
        await asyncio.sleep(60)

    workshop.add_agent(execute)

    check(await cancel_when(workshop, lambda log: len(log) >= 2, LOST), "lost", "lost")


async def test_runs_side_by_side_do_not_mix(workshop):
    async def execute(context):
        for number in range(10):
            await context.think(f"{context.user_id} {number}")
            await asyncio.sleep(0)
        return context.user_id

    workshop.add_agent(execute)
    claims = [await workshop.claim() for _ in range(6)]
    logs = await asyncio.gather(*(workshop.execute(claim) for claim in claims))

    for claim, log in zip(claims, logs, strict=True):
        assert check(log, "completed")["result"]["output"] == claim.run.user_id
        thoughts = [frame["data"]["reasoning"] for frame in log if frame["type"] == "agent_thinking"][1:]
        assert thoughts == [f"{claim.run.user_id} {number}" for number in range(10)]
        assert {batch.user_id for batch in workshop.bridge.batches if batch.run_id == claim.run.run_id} == {
            claim.run.user_id
        }


@pytest.mark.parametrize(
    "error",
    [UnknownExecution("run_x"), GeneratorExit(), KeyboardInterrupt(), BaseExceptionGroup("two", [SystemExit()])],
)
async def test_whatever_an_agent_raises_ends_its_run(workshop, error):
    async def execute(context):
        raise error

    check(await workshop.run(execute), "failed", "internal")


async def test_an_error_without_code_or_message_ends_its_run_all_the_same(workshop):
    async def execute(context):
        raise AgentError(None, None)  # type: ignore[arg-type]

    assert check(await workshop.run(execute), "failed", "None")["error"] == {"code": "None", "message": "None"}


async def test_an_answer_nested_too_deep_is_none(workshop):
    async def execute(context):
        answer: list[Any] = []
        for _ in range(500):
            answer = [answer]
        return answer

    check(await workshop.run(execute), "failed", "invalid_result")
