"""A run has others do its work: they are runs like any other, and end with it at the latest."""

import asyncio
import threading
from contextlib import suppress

import pytest

from agents.breaker import FAULTS
from agents.children import MAX_DEPTH, register_child
from agents.database import in_database
from agents.errors import AgentError, ChildFailed
from agents.leases import EXPIRED, claim_stalled
from agents.library.pipeline import Stage, run_pipeline
from agents.models import AgentExecution
from agents.team import Child
from agents.tiers import TIERS
from tests.agents.crew import crew_of
from tests.runs import LEASE, Workshop, make_terms, read_log, read_run, until, until_in_database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def crew(workshop):
    async def work(context):
        return f"{context.request.message} done"

    async def fail(context):
        raise AgentError("no_table", "There is no table.")

    async with crew_of(workshop) as made:
        workshop.add_agent(work, "worker")
        workshop.add_agent(fail, "failing")
        workshop.add_agent(made.hang, "hanging")
        yield made


def outcome(log):
    data = log[-1]["data"]
    return data["status"], data["error"]["code"] if data["error"] else data["result"]["output"]


async def test_a_child_is_a_run_of_its_own_in_its_parents_thread(crew):
    async def execute(context):
        return await context.run_agent("worker", "Sums", params={"a": 1})

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run(terms=make_terms(tier="mid"))

    (child,) = await crew.children_of(log[0]["run_id"])
    parent = await in_database(read_run, log[0]["run_id"])
    child_log = await in_database(read_log, child.run_id)
    assert outcome(log) == ("completed", "Sums done")
    assert (child.thread_id, child.user_id, child.tier, child.depth) == (parent.thread_id, crew.ada, "mid", 1)
    assert child.correlation_id == parent.correlation_id
    assert {frame["parent_run_id"] for frame in child_log} == {parent.run_id}
    assert [frame["seq"] for frame in child_log] == [1, 2, 3]
    assert child_log[0]["data"]["message"] == "Sums"
    assert "parent_run_id" not in log[0]


async def test_the_end_of_a_child_is_heard_at_once_in_its_own_process(crew, monkeypatch):
    monkeypatch.setattr("agents.team.LOOK_SECONDS", 60.0)

    async def execute(context):
        return [await context.run_agent("worker", str(number)) for number in range(5)]

    crew.workshop.add_agent(execute, "parent")
    crew.start(poll=60.0)
    (runner,) = crew.runners
    run_id = await crew.register()
    runner.enqueue(run_id)

    assert outcome(await crew.log_of(run_id)) == ("completed", [f"{number} done" for number in range(5)])


async def test_a_child_may_be_executed_by_another_worker(crew):
    async def execute(context):
        await crew.gate.wait()
        return await context.run_agent("worker", "Sums")

    crew.workshop.add_agent(execute, "parent")
    first = crew.start()
    run_id = await crew.register()
    await until_in_database(lambda: AgentExecution.objects.filter(run_id=run_id).exclude(owner="").exists())
    first._accepting = False  # it takes no more
    first.enqueue("")
    await until(first._duties[0].done)
    second = crew.start()
    crew.gate.set()

    log = await crew.log_of(run_id)

    (child,) = await crew.children_of(run_id)
    assert outcome(log) == ("completed", "Sums done")
    assert child.owner == second.owner != first.owner


@pytest.mark.parametrize(
    ("child", "code", "message"),
    [
        (Child("failing", "Go."), "no_table", "There is no table."),
        (Child("gone", "Go."), "unknown_agent", None),
        (Child("worker", " "), "invalid_message", None),
        (Child("hanging", "Go.", timeout=0.2), "timed_out", None),
    ],
    ids=lambda value: getattr(value, "agent", None),
)
async def test_a_childs_failure_is_its_parents_to_handle(crew, child, code, message):
    async def execute(context):
        try:
            await context.run_agent(child.agent, child.message, timeout=child.timeout)
        except ChildFailed as failure:
            return [failure.agent, failure.code, failure.message]

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    status, output = outcome(await crew.run())

    assert status == "completed"
    assert output[:2] == [child.agent, code]
    assert message in (None, output[2])


async def test_a_failure_that_the_parent_does_not_handle_is_its_own_but_no_fault_of_its_agent(crew):
    async def execute(context):
        await context.run_agent("failing", "Go.")

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()

    assert log[-1]["data"]["error"] == {"code": "child_failed", "message": "failing failed: There is no table."}
    assert "child_failed" not in FAULTS


async def test_children_in_parallel_go_on_at_once_and_answer_in_order(crew):
    async def execute(context):
        return await context.run_parallel([Child("hanging", "1"), Child("worker", "2"), Child("hanging", "3")])

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    run_id = await crew.register()
    await until(lambda: len(crew.hanging) == 2)
    crew.gate.set()

    assert outcome(await crew.log_of(run_id)) == ("completed", [1, "2 done", 1])


async def test_the_first_failure_of_a_parallel_child_cancels_the_others(crew):
    async def fail_late(context):
        await until(lambda: crew.hanging)
        raise AgentError("no_table", "There is no table.")

    crew.workshop.add_agent(fail_late, "failing_late")

    async def execute(context):
        try:
            await context.run_parallel([Child("hanging", "1"), Child("failing_late", "2")])
        except ChildFailed as failure:
            return failure.code

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()

    children = [child.run_id for child in await crew.children_of(log[0]["run_id"])]
    assert outcome(log) == ("completed", "no_table")
    assert sorted(await crew.ended(*children)) == ["cancelled", "failed"]


async def test_with_go_on_a_failure_stands_where_its_output_would(crew):
    async def execute(context):
        done = await context.run_parallel([Child("failing", "1"), Child("worker", "2")], go_on=True)
        return [one.code if isinstance(one, ChildFailed) else one for one in done]

    crew.workshop.add_agent(execute, "parent")
    crew.start()

    assert outcome(await crew.run()) == ("completed", ["no_table", "2 done"])


async def test_parents_that_fill_all_places_do_not_keep_their_children_from_running(crew):
    async def execute(context):
        return await context.run_parallel([Child("worker", "1"), Child("worker", "2")])

    crew.workshop.add_agent(execute, "parent")
    crew.start(total=2, per_user=2)
    runs = [await crew.register() for _ in range(6)]

    assert await crew.ended(*runs) == ["completed"] * 6


async def test_children_of_children_run_but_not_without_end(crew):
    async def execute(context):
        try:
            return 1 + await context.run_agent("parent", "Deeper.")
        except ChildFailed as failure:
            return 0 if failure.code == "too_deep" else -100

    crew.workshop.add_agent(execute, "parent")
    crew.start(total=2)

    assert outcome(await crew.run()) == ("completed", MAX_DEPTH)


async def test_a_user_at_the_limit_gets_no_more_children(transactional_db):
    shop = Workshop(live=1)

    async def execute(context):
        await context.run_agent("worker", "1")

    async with crew_of(shop) as crew:
        shop.add_agent(execute, "parent")
        shop.add_agent(execute, "worker")
        crew.start()
        log = await crew.run()
    await shop.close()

    assert "has 1 runs that have not ended" in log[-1]["data"]["error"]["message"]


async def test_cancelling_the_parent_cancels_its_children(crew):
    async def execute(context):
        await context.run_parallel([Child("hanging", "1"), Child("hanging", "2")])

    crew.workshop.add_agent(execute, "parent")
    runner = crew.start()
    run_id = await crew.register()
    await until(lambda: len(crew.hanging) == 2)

    await in_database(AgentExecution.objects.filter(run_id=run_id).update, cancel_requested_at=EXPIRED)
    runner.cancel(run_id)

    assert await crew.ended(run_id, *crew.hanging) == ["cancelled"] * 3


async def test_giving_a_child_up_cancels_it_and_the_parent_goes_on(crew):
    async def execute(context):
        try:
            async with asyncio.timeout(0.3):
                await context.run_agent("hanging", "1")
        except TimeoutError:
            return await context.run_agent("worker", "2")

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()

    assert outcome(log) == ("completed", "2 done")
    assert await crew.ended(*crew.hanging) == ["cancelled"]


async def test_a_child_that_is_given_up_while_it_is_being_registered_is_cancelled(crew, monkeypatch):
    is_asked, given_up = threading.Event(), threading.Event()

    def register_late(*args, **kwargs):
        is_asked.set()
        given_up.wait(10)
        return register_child(*args, **kwargs)

    monkeypatch.setattr("agents.team.register_child", register_late)

    async def execute(context):
        child = asyncio.create_task(context.run_agent("hanging", "1"))
        await until(is_asked.is_set)
        child.cancel()
        await asyncio.sleep(0)
        given_up.set()
        with suppress(asyncio.CancelledError):
            await child
        await crew.gate.wait()

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    run_id = await crew.register()
    await until_in_database(AgentExecution.objects.filter(parent__run_id=run_id).exists)
    (child,) = await crew.children_of(run_id)

    assert await crew.ended(child.run_id) == ["cancelled"]
    crew.gate.set()
    assert await crew.ended(run_id) == ["completed"]


@pytest.mark.parametrize(
    "columns", [{"status": "lost", "phase": "lost"}, {"status": "timed_out", "phase": "timed_out"}]
)
async def test_children_of_a_parent_that_was_ended_elsewhere_are_ended(crew, columns):
    async def execute(context):
        await context.run_agent("hanging", "1")

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    run_id = await crew.register()
    await until(lambda: crew.hanging)
    end = {"completed_seq": 3, "last_seq": 3, "completed_at": EXPIRED, **columns}
    await in_database(AgentExecution.objects.filter(run_id=run_id).update, **end)

    assert await crew.ended(*crew.hanging) == ["cancelled"]


async def test_a_child_that_nobody_waits_for_is_ended_with_its_parent(crew):
    async def execute(context):
        crew.workshop.background = asyncio.ensure_future(context.run_agent("hanging", "1"))
        await until_in_database(lambda: AgentExecution.objects.filter(agent_name="hanging").exists())

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()

    (child,) = await crew.children_of(log[0]["run_id"])
    assert await crew.ended(child.run_id) == ["cancelled"]
    crew.workshop.background.cancel()


async def test_a_parent_that_waits_for_a_moving_child_is_not_stuck(transactional_db):
    tiers = {**TIERS, "free": TIERS["free"].__class__(name="free", run=40, no_progress=0.5, tool=0.4, approval=1)}
    shop = Workshop(tiers)

    async def move(context):
        for _ in range(6):
            await asyncio.sleep(0.2)
            await context.think("Still here.")
        return "done"

    async def execute(context):
        done = await context.run_agent("moving", "1")
        if context.request.message == "Hang.":
            await asyncio.sleep(60)
        return done

    async with crew_of(shop) as crew:
        shop.add_agent(move, "moving")
        shop.add_agent(execute, "parent")
        crew.start()
        patient, stuck = await crew.run(), await crew.run(message="Hang.")
    await shop.close()

    assert outcome(patient) == ("completed", "done")
    assert outcome(stuck) == ("timed_out", "no_progress")


async def test_the_next_attempt_finds_what_children_have_done(crew):
    done: list[str] = []

    async def count(context):
        done.append(context.request.message)
        return f"{context.request.message} by {context.run_id}"

    async def execute(context):
        first = await context.run_agent("counting", "one")
        again = await context.run_agent("counting", "one")
        if context.attempt == 1:
            await crew.gate.wait()
        return [first, again, await context.run_agent("counting", "two")]

    crew.workshop.add_agent(count, "counting")
    crew.workshop.add_agent(execute, "parent", restartable=True)
    crew.start()
    run_id = await crew.register(terms=make_terms(restartable=True))
    await until(lambda: done == ["one", "one"])
    await crew.stop()
    crew.start()
    log = await crew.log_of(run_id)

    children = await crew.children_of(run_id)
    assert log[-1]["data"]["result"]["output"] == [
        f"{word} by {child.run_id}" for word, child in zip(["one", "one", "two"], children, strict=True)
    ]
    assert done == ["one", "one", "two"]


async def test_the_next_attempt_waits_for_a_child_that_goes_on_elsewhere(crew):
    async def execute(context):
        return await context.run_agent("hanging", "1")

    crew.workshop.add_agent(execute, "parent", restartable=True)
    crew.start()
    run_id = await crew.register(terms=make_terms(restartable=True))
    await until(lambda: crew.hanging)
    parent = AgentExecution.objects.filter(run_id=run_id)
    await in_database(parent.update, owner="worker_dead", lease_expires_at=EXPIRED)  # as one that died leaves it
    await until_in_database(lambda: parent.filter(attempt=2).exists())
    crew.gate.set()

    assert outcome(await crew.log_of(run_id)) == ("completed", 1)
    assert len(crew.hanging) == 1


async def test_a_child_that_was_lost_is_made_anew(crew):
    async def execute(context):
        return await context.run_agent("hanging", "1")

    crew.workshop.add_agent(execute, "parent", restartable=True)
    crew.start()
    run_id = await crew.register(terms=make_terms(restartable=True))
    await until(lambda: crew.hanging)
    await crew.stop()
    crew.gate.set()
    crew.start()

    assert outcome(await crew.log_of(run_id)) == ("completed", 1)
    assert [child.status for child in await crew.children_of(run_id)] == ["lost", "completed"]


async def test_the_supervisor_of_a_lost_child_learns_of_it(crew):
    async def execute(context):
        try:
            await context.run_agent("hanging", "1")
        except ChildFailed as failure:
            return failure.code

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    run_id = await crew.register()
    await until(lambda: crew.hanging)
    child = AgentExecution.objects.filter(run_id=crew.hanging[0])
    await in_database(child.update, owner="worker_dead", lease_expires_at=EXPIRED)

    assert outcome(await crew.log_of(run_id)) == ("completed", "lost")


async def test_an_earlier_attempts_writer_makes_no_children(crew):
    async def execute(context):
        await in_database(AgentExecution.objects.filter(run_id=context.run_id).update, lease_expires_at=EXPIRED)
        await in_database(claim_stalled, owner="worker_2", slots=1, lease=LEASE)
        await context.run_agent("worker", "1")

    crew.workshop.add_agent(execute, "parent")
    claim = await crew.workshop.claim(crew.ada, agent="parent")
    await crew.workshop.execute(claim)

    assert await crew.children_of(claim.run.run_id) == []


async def test_a_pipeline_hands_on_what_came_before_and_stops_at_the_first_failure(crew):
    stages = [
        Stage("worker", "one"),
        Stage("worker", lambda outputs: f"after {outputs[-1]}"),
        Stage("failing", "three"),
        Stage("worker", lambda outputs: f"after {len(outputs)}"),
    ]

    async def execute(context):
        if context.request.message == "Stop.":
            return await run_pipeline(context, stages)
        return [str(output) for output in await run_pipeline(context, stages, go_on=True)]

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    stopped, gone_on = await crew.run(message="Stop."), await crew.run(message="Go on.")

    assert outcome(stopped) == ("failed", "child_failed")
    assert len(await crew.children_of(stopped[0]["run_id"])) == 3
    assert outcome(gone_on) == (
        "completed",
        ["one done", "after one done done", "There is no table.", "after 3 done"],
    )
