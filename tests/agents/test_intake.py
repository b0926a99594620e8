import pytest
from django.contrib.auth.models import Group, User

from agents.database import in_database
from agents.errors import InvalidMessage, NotFound, UnknownAgent
from agents.intake import Intake, Quota
from agents.models import AgentExecution, Thread
from agents.runs import RunRequest
from agents.tiers import TIERS
from tests.runs import Workshop, make_user, read_run

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


@pytest.fixture
def runner() -> ListedRunner:
    return ListedRunner()


@pytest.fixture
def intake(workshop: Workshop, runner: ListedRunner) -> Intake:
    async def execute(context): ...

    workshop.add_agent(execute, "test")
    workshop.add_agent(execute, "quick", timeout=5.0)
    workshop.add_agent(execute, "restartable", restartable=True)
    return Intake(
        registry=workshop.registry,
        tracker=workshop.tracker,
        runner=runner,
        tiers=TIERS,
        quota=Quota(running=2, live=3, default_tier="free"),
    )


@pytest.fixture
async def ada(transactional_db) -> int:
    return await in_database(make_user, "ada")


async def start(intake: Intake, user: int, request_id: str = "r1", agent: str = "test", message: str = "Go.", **more):
    request = RunRequest(agent=agent, message=message, **more)
    return await intake.start(user_id=user, request_id=request_id, request=request, admit=lambda: None)


async def test_a_start_makes_a_run_and_has_it_executed(intake, runner, ada):
    made = await start(intake, ada)

    run = await in_database(read_run, made.run_id)
    assert runner.enqueued == [made.run_id]
    assert (run.tier, run.timeout, run.restartable) == ("free", 40.0, False)


async def test_a_start_again_is_the_same_run(intake, ada):
    first = await start(intake, ada)
    again = await start(intake, ada)

    assert (again.run_id, again.duplicate) == (first.run_id, True)


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
