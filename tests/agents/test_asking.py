"""A run asks a person, waits as long as that takes, and goes on with the first answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from agents.approvals import Answer, resolve_approval
from agents.database import in_database
from agents.errors import ApprovalClosed, NotFound, ToolError
from agents.leases import EXPIRED
from agents.models import AgentExecution, Approval
from agents.tiers import TIERS, Tier
from agents.tools import tool
from netra.testing import laws
from tests.agents.crew import crew_of
from tests.runs import (
    Workshop,
    make_claim,
    make_terms,
    make_user,
    read_log,
    read_run,
    read_transitions,
    until,
    until_in_database,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def crew(workshop):
    async with crew_of(workshop) as made:
        yield made


async def ask(context):
    answer = await context.ask_approval("Shall I?", arguments={"to": "bob", "token": "needle", "at": [1]})
    return [answer.decision, answer.arguments, answer.comment]


async def asked(run_id: str, number: int = 1) -> str:
    """The id of the run's latest approval, once it is in the log that it was asked."""

    def read() -> list[Any]:
        return [frame for frame in read_log(run_id) if frame["type"] == "approval_requested"]

    await until_in_database(lambda: len(read()) >= number)
    return str((await in_database(read))[number - 1]["data"]["approval_id"])


async def answer(crew, run_id: str, answer: Answer = "approve", *, user: int | None = None, **more: Any) -> str:
    approval = await asked(run_id)
    decision = await in_database(
        resolve_approval, user_id=user or crew.ada, run_id=run_id, approval_id=approval, answer=answer, **more
    )
    for runner in crew.runners:
        runner.ring(run_id)
    return decision


def output(log):
    laws.require_lawful(log)
    return log[-1]["data"]["result"]["output"]


def types(log):
    return [frame["type"] for frame in log]


@pytest.mark.parametrize(("said", "decision"), [("approve", "approved"), ("reject", "rejected")])
async def test_the_answer_reaches_the_agent_and_the_log(crew, monkeypatch, said, decision):
    monkeypatch.setattr("agents.asking.LOOK_SECONDS", 60.0)  # the bell must ring
    crew.workshop.add_agent(ask, "parent")
    crew.start()
    run_id = await crew.register()

    assert await answer(crew, run_id, said, comment="Why not?") == decision
    log = await crew.log_of(run_id)

    assert output(log) == [decision, {"to": "bob", "token": "needle", "at": [1]}, "Why not?"]
    assert types(log)[2:] == ["approval_requested", "approval_resolved", "agent_completed"]
    requested, resolved = log[2]["data"], log[3]["data"]
    shown = {"to": "bob", "token": "[redacted]", "at": [1]}
    assert (requested["reason"], requested["tool_name"], requested["arguments"]) == ("Shall I?", None, shown)
    assert datetime.fromisoformat(requested["expires_at"]) - datetime.now(UTC) < timedelta(
        seconds=TIERS["free"].approval
    )
    assert resolved == {"approval_id": requested["approval_id"], "decision": decision, "arguments": shown}
    laws.require_legal_phases([vars(row) for row in await in_database(read_transitions, run_id)], log)


async def test_edited_arguments_reach_the_agent_with_the_secrets_that_were_left_as_they_were(crew):
    crew.workshop.add_agent(ask, "parent")
    crew.start()
    run_id = await crew.register()

    await answer(crew, run_id, arguments={"to": "eve", "token": "[redacted]"})
    log = await crew.log_of(run_id)

    assert output(log) == ["approved", {"to": "eve", "token": "needle"}, ""]
    assert log[3]["data"]["arguments"] == {"to": "eve", "token": "[redacted]"}
    assert "needle" not in repr(log[:-1])


async def test_the_first_answer_counts(crew):
    crew.workshop.add_agent(ask, "parent")
    crew.start()
    run_id = await crew.register()
    await answer(crew, run_id, "reject")

    with pytest.raises(ApprovalClosed, match="decided already"):
        await answer(crew, run_id, "approve")

    assert output(await crew.log_of(run_id))[0] == "rejected"
    with pytest.raises(ApprovalClosed, match="decided already"):
        await answer(crew, run_id, "approve")


async def test_somebody_elses_approval_does_not_exist(crew):
    crew.workshop.add_agent(ask, "parent")
    crew.start()
    run_id = await crew.register()
    approval = await asked(run_id)
    bob = await in_database(make_user, "bob")
    other = (await in_database(make_claim, crew.ada)).run.run_id

    for user, run, approval_id in [
        (bob, run_id, approval),
        (crew.ada, other, approval),
        (crew.ada, run_id, "approval_x"),
        (crew.ada, approval, run_id),
    ]:
        with pytest.raises(NotFound):
            await in_database(resolve_approval, user_id=user, run_id=run, approval_id=approval_id, answer="approve")

    await answer(crew, run_id)
    assert output(await crew.log_of(run_id))[0] == "approved"


async def test_an_answer_to_a_run_that_has_ended_is_refused(crew):
    async def execute(context):
        crew.background = asyncio.ensure_future(context.ask_approval("Shall I?"))
        await asked(context.run_id)

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()
    crew.background.cancel()

    with pytest.raises(ApprovalClosed):
        await answer(crew, log[0]["run_id"])


async def test_time_decides_when_nobody_does(crew):
    async def execute(context):
        answer = await context.ask_approval("Shall I?", timeout=0.2)
        return [answer.decision, answer.is_approved]

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()

    assert output(log) == ["expired", False]
    with pytest.raises(ApprovalClosed):
        await answer(crew, log[0]["run_id"])


SHORT = {**TIERS, "free": Tier(name="free", run=1.0, no_progress=0.5, tool=0.3, approval=60)}


async def test_a_person_may_take_longer_than_a_run_and_a_run_above_it(transactional_db):
    shop = Workshop(SHORT)

    async def execute(context):
        return await context.run_agent("child", "Ask.")

    async with crew_of(shop) as crew:
        shop.add_agent(ask, "child")
        shop.add_agent(execute, "parent")
        crew.start()
        run_id = await crew.register(terms=make_terms(timeout=1.0))
        await until_in_database(lambda: AgentExecution.objects.filter(agent_name="child").exists())
        (child,) = await crew.children_of(run_id)
        await asked(child.run_id)
        put_off = (await in_database(read_run, run_id)).deadline_at
        await asyncio.sleep(1.5)
        await answer(crew, child.run_id)
        log = await crew.log_of(run_id)
        parent = await in_database(read_run, run_id)
    await shop.close()

    assert output(log)[0] == "approved"
    assert put_off is not None
    assert parent.deadline_at is not None
    assert parent.created_at + timedelta(seconds=2) < parent.deadline_at < put_off - timedelta(seconds=50)


async def test_after_the_answer_time_counts_again(transactional_db):
    shop = Workshop(SHORT)

    async def execute(context):
        await context.ask_approval("Shall I?")
        for _ in range(100):
            await asyncio.sleep(0.1)
            await context.think("Going on.")

    async with crew_of(shop) as crew:
        shop.add_agent(execute, "parent")
        crew.start()
        run_id = await crew.register(terms=make_terms(timeout=1.0))
        await answer(crew, run_id)
        log = await crew.log_of(run_id)
    await shop.close()

    assert log[-1]["data"]["error"]["code"] == "timed_out"


async def test_who_waits_for_a_person_takes_nobodys_place(crew):
    async def execute(context):
        return "done"

    crew.workshop.add_agent(ask, "parent")
    crew.workshop.add_agent(execute, "quick")
    crew.start(total=1, per_user=1)
    waiting = await crew.register()
    await asked(waiting)

    assert output(await crew.run("quick")) == "done"
    await answer(crew, waiting)
    await crew.log_of(waiting)


async def test_cancelling_a_run_ends_its_approval(crew):
    crew.workshop.add_agent(ask, "parent")
    runner = crew.start()
    run_id = await crew.register()
    await asked(run_id)
    await in_database(AgentExecution.objects.filter(run_id=run_id).update, cancel_requested_at=EXPIRED)
    runner.cancel(run_id)
    log = await crew.log_of(run_id)

    assert output(log) is None
    assert types(log)[-2:] == ["approval_resolved", "agent_completed"]
    assert log[-2]["data"]["decision"] == "expired"


async def test_the_end_of_a_run_resolves_what_its_agent_left_open(crew):
    async def execute(context):
        crew.background = asyncio.ensure_future(context.ask_approval("Shall I?"))
        await asked(context.run_id)
        return "never mind"

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()
    crew.background.cancel()

    assert output(log) == "never mind"
    assert log[-2]["data"]["decision"] == "expired"


async def test_an_agent_may_go_on_while_it_waits(crew):
    async def execute(context):
        first = asyncio.ensure_future(context.ask_approval("One?"))
        second = asyncio.ensure_future(context.ask_approval("Two?"))
        await asked(context.run_id, 2)
        async with context.stream() as stream:
            await stream.write("While I wait … ")
        for approval in await in_database(lambda: list(Approval.objects.order_by("pk"))):
            await in_database(
                resolve_approval,
                user_id=crew.ada,
                run_id=context.run_id,
                approval_id=approval.approval_id,
                answer="approve",
            )
        return [(await one).decision for one in (first, second)]

    crew.workshop.add_agent(execute, "parent")
    crew.start()
    log = await crew.run()

    assert output(log) == ["approved", "approved"]
    laws.require_legal_phases([vars(row) for row in await in_database(read_transitions, log[0]["run_id"])], log)


async def test_who_waits_for_a_person_is_left_to_others_at_once_when_its_process_stops(crew):
    async def above(context):
        return await context.run_agent("parent", "Ask.")

    crew.workshop.add_agent(ask, "parent", restartable=True)
    crew.workshop.add_agent(above, "above", restartable=True)
    crew.workshop.add_agent(crew.hang, "busy")
    stopping = crew.start()
    terms = make_terms(restartable=True)
    waiting, parent = await crew.register(terms=terms), await crew.register("above", terms=terms)
    await asked(waiting)
    await until_in_database(lambda: AgentExecution.objects.filter(parent__run_id=parent).exists())
    (child,) = await crew.children_of(parent)
    await asked(child.run_id)
    busy = await crew.register("busy")
    await until(lambda: crew.hanging)

    stopped = asyncio.create_task(stopping.stop(600.0))  # as long as the busy one takes
    crew.runners.clear()
    await until_in_database(
        lambda: (
            AgentExecution.objects.filter(
                run_id__in=[waiting, child.run_id], owner=stopping.owner, lease_expires_at=EXPIRED
            ).count()
            == 2
        )
    )
    assert not stopped.done()
    crew.start()
    assert await asked(waiting, 2)
    crew.gate.set()
    await asyncio.wait_for(stopped, 10)

    assert (await in_database(read_run, busy)).status == "completed"
    for run_id in (waiting, child.run_id):
        await asked(run_id, 2)
        await answer(crew, run_id)
    assert output(await crew.log_of(waiting))[0] == output(await crew.log_of(parent))[0] == "approved"


@pytest.mark.parametrize("answered_meanwhile", [False, True])
async def test_an_approval_outlives_its_worker(crew, answered_meanwhile):
    crew.workshop.add_agent(ask, "parent", restartable=True)
    crew.start()
    run_id = await crew.register(terms=make_terms(restartable=True))
    approval = await asked(run_id)
    await crew.stop()
    if answered_meanwhile:
        await answer(crew, run_id)
    crew.start()
    if not answered_meanwhile:
        assert await asked(run_id, 2) == approval  # told again
        await answer(crew, run_id)
    log = await crew.log_of(run_id)

    assert output(log)[0] == "approved"
    assert types(log).count("approval_resolved") == 1
    assert types(log).count("run_recovered") == 1
    assert await in_database(Approval.objects.count) == 1


async def test_a_decision_counts_for_the_next_attempt_too(crew):
    async def execute(context):
        answer = await context.ask_approval("Shall I?")
        if context.attempt == 1:
            await crew.gate.wait()
        return answer.decision

    crew.workshop.add_agent(execute, "parent", restartable=True)
    crew.start()
    run_id = await crew.register(terms=make_terms(restartable=True))
    await answer(crew, run_id, "reject")
    await until_in_database(lambda: "approval_resolved" in types(read_log(run_id)))
    await crew.stop()
    crew.start()
    log = await crew.log_of(run_id)

    assert output(log) == "rejected"
    assert types(log).count("approval_requested") == 1


sent: list[str] = []


@tool(approval=True)
def send(to: str, password: str = "") -> str:
    """Sends a letter."""
    sent.append(f"{to} {password}".strip())
    return f"sent to {to}"


async def call_send(context):
    try:
        return await context.tools.call("send", to="bob", password="p0")
    except ToolError as error:
        return [error.code, error.message]


@pytest.mark.parametrize(
    ("said", "edited", "result", "done"),
    [
        ("approve", None, "sent to bob", ["bob p0"]),
        ("approve", {"to": "eve", "password": "[redacted]"}, "sent to eve", ["eve p0"]),
        ("approve", {"to": 7}, ["invalid_arguments", None], []),
        ("reject", None, ["rejected", "The call of send was not approved (rejected): No."], []),
    ],
)
async def test_a_tool_that_needs_approval_is_called_as_approved_or_not_at_all(crew, said, edited, result, done):
    sent.clear()
    crew.workshop.add_agent(call_send, "parent", tools=[send])
    crew.start()
    run_id = await crew.register()
    await answer(crew, run_id, said, arguments=edited, comment="No.")
    log = await crew.log_of(run_id)

    told = output(log)
    assert told == result or told[0] == result[0]
    assert sent == done
    assert log[2]["data"]["tool_name"] == "send"
    assert log[2]["data"]["reason"] == "May I call send? Sends a letter."
    assert ("tool_executing" in types(log)) == (said == "approve")


async def test_nobody_is_asked_about_a_call_that_cannot_be_made(crew):
    async def execute(context):
        try:
            await context.tools.call("send", whom="bob")
        except ToolError as error:
            return error.code

    crew.workshop.add_agent(execute, "parent", tools=[send])
    crew.start()
    log = await crew.run()

    assert output(log) == "invalid_arguments"
    assert "approval_requested" not in types(log)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"key": "k"}, "approval_once|approval.execution_id, .*approval.key"),
        ({"key": "other", "decision": "approved"}, "approval_resolved_iff_decided"),
    ],
)
async def test_the_database_knows_the_rules(crew, columns, constraint):
    claim = await in_database(make_claim, crew.ada)
    row = {"execution_id": claim.run.pk, "requested_at": EXPIRED, "expires_at": EXPIRED, "reason": "Why?"}
    await in_database(lambda: Approval.objects.create(**row, approval_id="a", key="k"))

    with pytest.raises(IntegrityError, match=constraint):
        await in_database(lambda: Approval.objects.create(**row, approval_id="b", **columns))
