import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from agents.agreement import Agreement, Quota
from agents.breaker import Breaker
from agents.database import in_database
from agents.errors import AgentUnavailable, InvalidMessage, NotFound, RequestIdReused, UnknownAgent
from agents.intake import Intake
from agents.models import AgentExecution, Thread
from agents.runs import RunRequest
from agents.tiers import TIERS
from tests.runs import Workshop, make_user, read_run, register_run

pytestmark = pytest.mark.django_db(transaction=True)


class ListedRunner:
    """Notes who is to run and who is to stop."""

    def __init__(self) -> None:
        self.enqueued: list[str] = []
        self.cancelled: list[str] = []

    def enqueue(self, run_id: str) -> None:
        self.enqueued.append(run_id)

    def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)

    def ring(self, run_id: str) -> None:
        pass


@pytest.fixture
def runner() -> ListedRunner:
    return ListedRunner()


@pytest.fixture
def intake(workshop: Workshop, runner: ListedRunner) -> Intake:
    async def execute(context): ...

    workshop.add_agent(execute, "test")
    workshop.add_agent(execute, "quick", timeout=5.0)
    workshop.add_agent(execute, "restartable", restartable=True)
    workshop.add_agent(execute, "free_to_fail", breaker=False)
    agreement = Agreement(
        registry=workshop.registry,
        tiers=TIERS,
        quota=Quota(running=2, live=3, default_tier="free"),
        breaker=Breaker(failures=2, window=60, cooldown=3600),
    )
    return Intake(agreement=agreement, tracker=workshop.tracker, runner=runner)


@pytest.fixture
async def ada(transactional_db) -> int:
    return await in_database(make_user, "ada")


async def start(
    intake: Intake,
    user: int,
    request_id: str = "r1",
    agent: str = "test",
    message: str = "Go.",
    admit=lambda: None,
    params_of=None,
    **more,
):
    request = RunRequest(agent=agent, message=message, **more)
    return await intake.start(user_id=user, request_id=request_id, request=request, admit=admit, params_of=params_of)


async def fail(intake: Intake, user: int, request_id: str, **more) -> str:
    """A run that fails with an error of its agent's own."""
    made = await start(intake, user, request_id, **more)
    end: dict[str, Any] = {"status": "failed", "phase": "failed", "error_code": "internal"}
    end |= {"completed_at": datetime.now(UTC), "completed_seq": 0}
    await in_database(AgentExecution.objects.filter(run_id=made.run_id).update, **end)
    return str(made.run_id)


async def test_a_start_makes_a_run_and_has_it_executed(intake, runner, ada):
    made = await start(intake, ada)

    run = await in_database(read_run, made.run_id)
    assert runner.enqueued == [made.run_id]
    assert (run.tier, run.timeout, run.restartable) == ("free", 40.0, False)


async def test_a_start_again_is_the_same_run(intake, ada):
    first = await start(intake, ada)
    again = await start(intake, ada)

    assert (again.run_id, again.duplicate) == (first.run_id, True)


async def test_a_start_takes_the_params_of_an_earlier_run_with_their_secrets(intake, ada):
    first = await start(intake, ada, params={"token": "t0", "limit": 5})

    second = await start(intake, ada, "r2", params_of=first.run_id)
    third = await start(intake, ada, "r3", params_of=second.run_id)
    again = await start(intake, ada, "r2", params_of=third.run_id)

    assert (again.run_id, again.duplicate) == (second.run_id, True)
    for made in (second, third):
        run = await in_database(read_run, made.run_id)
        assert json.loads(run.request)["params"] == {"token": "t0", "limit": 5}


async def test_params_of_what_is_not_yours_or_was_made_by_an_agent_are_not_to_be_had(intake, ada):
    first = await start(intake, ada, params={"token": "t0"})
    eve = await in_database(make_user, "eve")
    child = await in_database(register_run, ada, params={"token": "of an agent"})
    parent = AgentExecution.objects.filter(run_id=first.run_id).values("pk")
    await in_database(AgentExecution.objects.filter(run_id=child.run_id).update, parent=parent)

    for user, run_id in ((eve, first.run_id), (ada, child.run_id), (ada, "run_x"), (ada, first.thread_id)):
        with pytest.raises(NotFound) as refused:
            await start(intake, user, "r9", params_of=run_id)
        assert refused.value.field == "params_of"
    with pytest.raises(InvalidMessage, match="either params or params_of"):
        await start(intake, ada, "r9", params_of=first.run_id, params={"limit": 6})


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        ({"agent": "gone"}, UnknownAgent, "agent"),
        ({"message": ""}, InvalidMessage, "message"),
        ({"message": " \n\t\u00a0"}, InvalidMessage, "message"),
        ({"timeout": 0.0}, InvalidMessage, "timeout"),
        ({"timeout": -1.0}, InvalidMessage, "timeout"),
        ({"thread_id": "thread_x"}, NotFound, "thread_id"),
    ],
)
async def test_a_bad_request_makes_nothing_and_its_request_id_stays_free(intake, runner, ada, request_, error, field):
    with pytest.raises(error) as raised:
        await start(intake, ada, **request_)

    assert raised.value.field == field
    assert await in_database(AgentExecution.objects.count) == await in_database(Thread.objects.count) == 0
    assert runner.enqueued == []
    assert (await start(intake, ada)).duplicate is False


@pytest.mark.parametrize(
    ("agent", "asked", "agreed"),
    [("test", None, 40), ("test", 10, 10), ("test", 500, 40), ("quick", None, 5), ("quick", 3, 3), ("quick", 20, 5)],
)
async def test_a_timeout_is_the_least_that_request_agent_and_tier_allow(intake, ada, agent, asked, agreed):
    made = await start(intake, ada, agent=agent, timeout=asked)

    assert (await in_database(read_run, made.run_id)).timeout == agreed


@pytest.mark.parametrize(
    ("groups", "tier"),
    [
        ([], "free"),
        (["tier:mid"], "mid"),
        (["tier:mid", "tier:enterprise"], "enterprise"),
        (["tier:gold", "x"], "free"),
    ],
)
async def test_a_users_tier_is_the_best_of_their_groups(intake, ada, groups, tier):
    def join() -> None:
        for name in groups:
            User.objects.get(pk=ada).groups.add(Group.objects.create(name=name))

    await in_database(join)
    run = await in_database(read_run, (await start(intake, ada)).run_id)

    assert (run.tier, run.timeout) == (tier, TIERS[tier].run)


async def test_what_may_be_tried_again_is_noted_with_the_run(intake, ada):
    made = await start(intake, ada, agent="restartable")

    assert (await in_database(read_run, made.run_id)).restartable


async def test_an_agent_that_keeps_failing_is_refused_before_the_users_rate_is_asked(intake, runner, ada):
    runs = [await fail(intake, ada, request_id) for request_id in ("r1", "r2")]
    asked = []

    with pytest.raises(AgentUnavailable) as raised:
        await start(intake, await in_database(make_user), "r3", admit=lambda: asked.append(1))

    assert raised.value.retry_after is not None
    assert 0 < raised.value.retry_after <= 3600
    assert asked == []
    assert runner.enqueued == runs
    assert await in_database(AgentExecution.objects.count) == 2


async def test_what_was_accepted_before_is_answered_while_its_agent_is_refused(intake, ada):
    runs = [await fail(intake, ada, request_id) for request_id in ("r1", "r2")]

    assert [(await start(intake, ada, request_id)).run_id for request_id in ("r1", "r2")] == runs
    with pytest.raises(RequestIdReused):
        await start(intake, ada, "r1", message="Something else.")


async def test_a_mistake_in_a_request_is_told_before_that_its_agent_is_refused(intake, ada):
    for request_id in ("r1", "r2"):
        await fail(intake, ada, request_id)

    with pytest.raises(InvalidMessage):
        await start(intake, ada, "r3", message="")


async def test_an_agent_that_may_fail_and_all_others_are_not_refused(intake, ada):
    for agent in ("free_to_fail", "test"):
        for number in range(2):
            await fail(intake, ada, f"{agent}-{number}", agent=agent)

    for agent in ("free_to_fail", "quick"):
        assert (await start(intake, ada, f"{agent}-again", agent=agent)).duplicate is False


async def test_being_out_of_a_time_that_the_agent_itself_sets_is_a_failure(intake, ada):
    for number in range(2):
        run_id = await fail(intake, ada, f"r{number}", agent="quick")
        ended = AgentExecution.objects.filter(run_id=run_id)
        await in_database(ended.update, status="timed_out", phase="timed_out", error_code="timed_out")

    with pytest.raises(AgentUnavailable):
        await start(intake, ada, "again", agent="quick")


async def test_an_interrupting_start_cancels_the_runs_before_it(intake, runner, ada):
    first = await start(intake, ada, "r1")
    second = await start(intake, ada, "r2", thread_id=first.thread_id, on_busy="interrupt")

    assert runner.cancelled == [first.run_id]
    assert (await in_database(read_run, first.run_id)).cancel_requested_at is not None
    assert (await in_database(read_run, second.run_id)).cancel_requested_at is None


async def test_a_cancel_reaches_the_runner_and_is_noted(intake, runner, ada):
    made = await start(intake, ada)

    answer = await intake.cancel(user_id=ada, run_id=made.run_id)

    assert (answer.status, runner.cancelled) == ("pending", [made.run_id])


async def test_a_cancel_of_somebody_elses_run_reaches_nobody(intake, runner, ada):
    made = await start(intake, await in_database(make_user, "bob"))

    with pytest.raises(NotFound):
        await intake.cancel(user_id=ada, run_id=made.run_id)

    assert runner.cancelled == []
