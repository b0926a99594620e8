import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from agents.database import in_database
from agents.interventions import Interventions, Outcome
from agents.leases import EXPIRED, claim_stalled
from agents.model_answers import keep_answer
from agents.models import AgentExecution, ModelAnswer, OperatorAction
from agents.runner import AgentRunner, Limits
from tests.operators import AUDIT, OPERATOR, make_interventions
from tests.runs import (
    LEASE,
    Workshop,
    make_terms,
    make_user,
    read_log,
    read_run,
    register_run,
    start_thinking,
    until,
    until_in_database,
)

pytestmark = pytest.mark.django_db(transaction=True)
RESTARTABLE = make_terms(restartable=True)


@pytest.fixture
def operating(workshop: Workshop) -> Interventions:
    async def answer(context):
        return "Done."

    workshop.add_agent(answer)
    return make_interventions(workshop)


def noted(run_id: str) -> list[tuple[str, str, bool, str]]:
    rows = OperatorAction.objects.filter(run_id=run_id).order_by("pk")
    return list(rows.values_list("action", "reason", "applied", "outcome"))


async def test_ending_a_run_writes_its_one_agent_completed_and_tells_its_user(operating, workshop):
    claim = await workshop.tracked()
    notifier = await start_thinking(workshop, claim)
    await notifier.notify_tool_executing("tool_1", "look", {})
    await notifier.notify_partial_result("m", "So far", is_complete=False)
    await workshop.journal.drain()
    run_id = claim.run.run_id

    outcome = await in_database(operating.end, run_id, OPERATOR)

    assert outcome == Outcome(True, "Ended as failed. It was in llm interaction.")
    log = await in_database(read_log, run_id)
    *_, cut_off, completed = log
    assert (cut_off["type"], cut_off["data"]["status"]) == ("tool_completed", "cancelled")
    assert completed["type"] == "agent_completed"
    assert completed["data"]["status"] == "failed"
    assert completed["data"]["error"]["code"] == "ended_by_operator"
    assert completed["data"]["result"]["output"] == "So far"
    assert [frame["seq"] for frame in log] == list(range(1, len(log) + 1))
    assert workshop.bridge.frames(run_id)[-2:] == [cut_off, completed]
    run = await in_database(read_run, run_id)
    assert (run.status, run.completed_seq, run.attempt, run.owner) == ("failed", completed["seq"], 2, "worker_1")
    assert await in_database(noted, run_id) == [("end", "It hangs.", True, outcome.words)]


async def test_who_had_the_run_can_write_no_more_of_it(operating, workshop):
    entered, gate = asyncio.Event(), asyncio.Event()

    async def wait(context):
        entered.set()
        await gate.wait()
        await context.think("Still there.")
        return "Too late."

    workshop.add_agent(wait, "waits")
    claim = await workshop.claim(agent="waits")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(workshop.execute(claim))
        await entered.wait()
        await in_database(operating.end, claim.run.run_id, OPERATOR)
        gate.set()

    log = await in_database(read_log, claim.run.run_id)
    assert [frame["data"]["error"]["code"] for frame in log if frame["type"] == "agent_completed"] == [
        "ended_by_operator"
    ]
    assert "Still there." not in str(log)


async def test_a_run_that_nobody_has_taken_yet_can_be_ended(operating, workshop):
    run_id = (await in_database(register_run, await in_database(make_user))).run_id

    assert (await in_database(operating.end, run_id, OPERATOR)).applied

    (completed,) = await in_database(read_log, run_id)
    assert completed["data"]["status"] == "failed"


async def test_an_operator_and_the_runner_end_a_run_at_once_and_one_of_them_does(operating, workshop):
    """Many times, the one a little earlier or the other: one agent_completed always, and everybody knows whose."""
    winners = set()
    for number in range(40):
        claim = await workshop.claim()
        run_id = claim.run.run_id

        async def operator(run_id=run_id, events=number % 4, pauses=number // 4):
            """Acts when so many of the run's three events are told, or some turns later."""
            await until(lambda: len(workshop.bridge.frames(run_id)) >= events)
            for _ in range(pauses):
                await asyncio.sleep(0)
            return await in_database(operating.end, run_id, OPERATOR)

        _, outcome = await asyncio.gather(workshop.execute(claim), operator())

        log = await in_database(read_log, run_id)
        completed = [frame for frame in log if frame["type"] == "agent_completed"]
        assert len(completed) == 1
        assert completed == [frame for frame in workshop.bridge.frames(run_id) if frame["type"] == "agent_completed"]
        status = completed[0]["data"]["status"]
        assert outcome.applied == (status == "failed")
        assert (await in_database(read_run, run_id)).status == status
        winners.add(status)
    assert winners == {"failed", "completed"}


@pytest.mark.parametrize("action", ["cancel", "end", "hand_over"])
async def test_what_has_ended_is_left_alone_and_that_is_noted(operating, workshop, action):
    claim = await workshop.claim()
    log = await workshop.execute(claim)
    before = await in_database(AgentExecution.objects.filter(run_id=claim.run.run_id).values().get)

    outcome = await in_database(getattr(operating, action), claim.run.run_id, OPERATOR)

    assert outcome == Outcome(False, "It has ended already, as completed.")
    assert await in_database(AgentExecution.objects.filter(run_id=claim.run.run_id).values().get) == before
    assert await in_database(read_log, claim.run.run_id) == log
    assert await in_database(noted, claim.run.run_id) == [(action, "It hangs.", False, outcome.words)]


@pytest.mark.parametrize("action", ["cancel", "end", "hand_over"])
async def test_a_run_that_is_gone_is_no_error(operating, action):
    outcome = await in_database(getattr(operating, action), "run_x", OPERATOR)

    assert outcome == Outcome(False, "There is no such run any more.")


async def test_cancelling_twice_says_so(operating):
    run_id = (await in_database(register_run, await in_database(make_user))).run_id

    first, second = [await in_database(operating.cancel, run_id, OPERATOR) for _ in range(2)]

    assert (first, second) == (
        Outcome(True, "It is to be cancelled."),
        Outcome(False, "It is to be cancelled already."),
    )
    assert (await in_database(read_run, run_id)).cancel_requested_at is not None


async def test_a_retry_is_a_new_run_of_the_same_request_in_the_same_thread(operating, workshop):
    claim = await workshop.claim(params={"depth": 2})
    await workshop.execute(claim)
    retry = operating.retry

    outcome = await in_database(retry, claim.run.run_id, OPERATOR, form_id="f")
    again = await in_database(retry, claim.run.run_id, OPERATOR, form_id="f")
    other = await in_database(retry, claim.run.run_id, OPERATOR, form_id="g")

    old = await in_database(read_run, claim.run.run_id)
    new = await in_database(read_run, outcome.words.removeprefix("Retried as ").rstrip("."))
    assert (new.thread_id, new.user_id, new.agent_name, new.status) == (old.thread_id, old.user_id, "test", "pending")
    assert new.request.replace(f'"thread_id":"{claim.run.thread_id}"', '"thread_id":null') == old.request
    assert again == Outcome(False, f"It was retried already, as {new.run_id}.")
    assert other.applied


async def test_a_retry_that_is_refused_says_why(operating, workshop):
    claim = await workshop.claim(agent="gone")
    retry = operating.retry
    assert not (await in_database(retry, claim.run.run_id, OPERATOR, form_id="f")).applied  # it is live
    await in_database(operating.end, claim.run.run_id, OPERATOR)

    outcome = await in_database(retry, claim.run.run_id, OPERATOR, form_id="f")

    assert not outcome.applied
    assert outcome.words.startswith("No new run was made: There is no agent")


async def test_a_restartable_run_that_is_handed_over_is_free_at_once_for_the_next_attempt(operating, workshop):
    claim = await workshop.tracked(terms=RESTARTABLE)
    await start_thinking(workshop, claim)

    outcome = await in_database(operating.hand_over, claim.run.run_id, OPERATOR)

    assert outcome.applied
    run = await in_database(read_run, claim.run.run_id)
    assert (run.owner, run.lease_expires_at) == ("", EXPIRED)
    (again,) = await in_database(claim_stalled, owner="worker_2", slots=5, lease=LEASE)
    assert (again.run.run_id, again.run.attempt) == (claim.run.run_id, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"restartable": False}, "Its agent is not restartable"),
        ({"attempt": 3}, "It has had its 3 attempts."),
        ({"owner": ""}, "No worker has it"),
        ({"cancel_requested_at": datetime(2026, 1, 1, tzinfo=UTC)}, "It is to be cancelled."),
    ],
)
async def test_what_cannot_be_handed_over_is_left_with_its_worker(operating, workshop, changes, words):
    claim = await workshop.tracked(terms=RESTARTABLE)
    await start_thinking(workshop, claim)
    await workshop.journal.drain()
    rows = AgentExecution.objects.filter(run_id=claim.run.run_id)
    await in_database(rows.update, **changes)
    before = await in_database(rows.values().get)

    outcome = await in_database(operating.hand_over, claim.run.run_id, OPERATOR)

    assert not outcome.applied
    assert outcome.words.startswith(words)
    assert await in_database(rows.values().get) == before


@pytest.fixture
async def runner(workshop: Workshop) -> AsyncIterator[AgentRunner]:
    """It would find out by itself only when it renews its leases, which it never does."""
    runner = AgentRunner(core=workshop.core, limits=Limits(total=5, per_user=5, lease=60, renew=60, poll=60))
    yield runner
    await asyncio.wait_for(runner.stop(1.0), 10)


async def begin(workshop: Workshop, runner: AgentRunner, **registration: Any) -> tuple[str, list[str]]:
    """A run that its worker is at until it is stopped, and a list of what has become of that."""
    said: list[str] = []
    entered = asyncio.Event()

    async def wait(context: Any) -> None:
        entered.set()
        try:
            await asyncio.sleep(600)
        finally:
            said.append("stopped")

    workshop.add_agent(wait, "waits", restartable=True)
    runner.start()
    await asyncio.sleep(0)
    await runner._claims.call(AgentExecution.objects.count)  # it has looked for the runs of others before that
    registered = await in_database(partial(register_run, await in_database(make_user), agent="waits", **registration))
    runner.enqueue(registered.run_id)
    await asyncio.wait_for(entered.wait(), 10)
    return registered.run_id, said


async def test_the_agent_of_a_run_that_was_ended_is_stopped_at_once(operating, workshop, runner):
    run_id, said = await begin(workshop, runner)

    await in_database(operating.end, run_id, OPERATOR)

    await until(lambda: said == ["stopped"])
    assert [frame["type"] for frame in await in_database(read_log, run_id)].count("agent_completed") == 1


async def test_a_worker_leaves_a_run_that_was_handed_over_at_once_and_writes_nothing_of_it(operating, workshop, runner):
    run_id, said = await begin(workshop, runner, terms=RESTARTABLE)

    await in_database(operating.hand_over, run_id, OPERATOR)

    await until(lambda: said == ["stopped"] and not runner._slots)
    run = await in_database(read_run, run_id)
    assert (run.status, run.owner, run.attempt) == ("running", "", 1)
    assert [claim.run.attempt for claim in await runner._claim_stalled()] == [2]


async def test_a_retry_is_taken_at_once(operating, workshop, runner):
    registered = await in_database(register_run, await in_database(make_user))
    runner.start()
    ended = AgentExecution.objects.filter(status="completed")
    await until_in_database(lambda: ended.count() == 1)
    await until(lambda: not runner._slots and not runner._wake.is_set())  # it sleeps now

    await in_database(partial(operating.retry, form_id="f"), registered.run_id, OPERATOR)

    await until_in_database(lambda: ended.count() == 2)


async def test_what_models_have_answered_a_run_is_not_kept_beyond_its_end(operating, workshop):
    claim = await workshop.claim()
    await in_database(keep_answer, claim.run, "key", "Secret")

    await in_database(operating.end, claim.run.run_id, OPERATOR)

    assert await in_database(ModelAnswer.objects.count) == 0


@pytest.mark.parametrize("change", ["UPDATE {} SET reason = 'another'", "DELETE FROM {}"])
def test_the_database_keeps_what_operators_did(change):
    OPERATOR.note("end", "run_x", Outcome(True, "Ended."))

    with pytest.raises(DatabaseError, match="are kept as they are"), transaction.atomic(), connection.cursor() as sql:
        sql.execute(change.format(AUDIT))

    row = OperatorAction.objects.get()
    assert (row.by_name, row.action, row.reason, row.outcome) == ("op", "end", "It hangs.", "Ended.")
    for change_it in (row.save, row.delete):
        with pytest.raises(TypeError):
            change_it()


def test_nothing_is_done_without_a_reason(operating):
    run_id = register_run(make_user()).run_id

    with pytest.raises(DatabaseError, match="operator_action_has_reason"):
        operating.end(run_id, type(OPERATOR)(by_id=1, by_name="op", reason=""))

    assert read_log(run_id) == []
    assert read_run(run_id).status == "pending"
