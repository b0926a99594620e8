"""The supervisor's members work at once, and whoever fails does not keep the others from answering."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.errors import AgentError
from agents.library.analyst import Analyst
from agents.library.supervisor import Supervisor
from netra.testing import laws
from tests.agents.crew import crew_of
from tests.agents.library.shop import CSV
from tests.runs import Workshop, make_terms, until

pytestmark = pytest.mark.django_db(transaction=True)


def add_team(workshop):
    async def chat(context):
        async with context.stream() as stream:
            await stream.write("Hello to you.")
        return "Hello to you."

    async def fail(context):
        raise AgentError("no_model", "No model is configured.")

    async def count(context):
        return {"characters": len(context.request.message)}

    workshop.registry.register_agent_safely("supervisor", Supervisor, streaming=True, restartable=True)
    workshop.registry.register_agent_safely("analyst", Analyst, streaming=True, restartable=True)
    workshop.add_agent(chat, "assistant")
    workshop.add_agent(fail, "failing")
    workshop.add_agent(count, "counting")


@pytest.fixture
async def crew(workshop):
    async with crew_of(workshop) as made:
        add_team(workshop)
        workshop.add_agent(made.hang, "hanging")
        yield made


def output(log):
    laws.require_lawful(log)
    assert log[-1]["data"]["status"] == "completed", log[-1]
    text = "".join(frame["data"]["delta"] for frame in log if frame["type"] == "partial_result")
    assert text == log[-1]["data"]["result"]["output"]
    return text


async def asked(crew, log):
    return [child.agent_name for child in await crew.children_of(log[0]["run_id"])]


async def test_a_table_goes_to_the_analyst_and_the_assistant_and_their_answers_are_joined(crew):
    crew.start()
    log = await crew.run("supervisor", message=f"How many rows?\n\n{CSV}")

    answer = output(log)
    assert sorted(await asked(crew, log)) == ["analyst", "assistant"]
    assert answer.index("# analyst") < answer.index("# assistant") < answer.index("Hello to you.")


async def test_without_a_table_the_assistant_answers_alone(crew):
    crew.start()
    log = await crew.run("supervisor", message="Hello.")

    assert output(log) == "Hello to you."
    assert await asked(crew, log) == ["assistant"]


async def test_members_work_at_once(crew):
    crew.start()
    run_id = await crew.register("supervisor", params={"agents": ["hanging", "hanging", "counting"]})
    await until(lambda: len(crew.hanging) == 2)
    crew.gate.set()

    assert '"characters": 3' in output(await crew.log_of(run_id))


async def test_who_fails_is_told_of_and_the_others_answer(crew):
    crew.start()
    log = await crew.run("supervisor", params={"agents": ["failing", "assistant"]})

    assert output(log) == (
        "# assistant\n\nHello to you.\n\n## Not answered\n\n- failing failed: No model is configured.\n"
    )


async def test_when_nobody_can_answer_the_run_has_failed(crew):
    crew.start()
    log = await crew.run("supervisor", params={"agents": ["failing"]})

    assert log[-1]["data"]["error"] == {
        "code": "nobody_could_help",
        "message": "failing failed: No model is configured.",
    }


@pytest.mark.parametrize("agents", ["analyst", [], ["nobody"], ["analyst"] * 9, [["analyst"]], [None]])
async def test_agents_that_are_not_there_are_refused_with_those_that_are(crew, agents):
    crew.start()
    log = await crew.run("supervisor", params={"agents": agents})

    assert log[-1]["data"]["error"]["code"] == "bad_agents"
    assert await asked(crew, log) == []


async def test_without_anybody_who_can_help_it_says_what_to_do(workshop):
    workshop.registry.register_agent_safely("supervisor", Supervisor, streaming=True)
    async with crew_of(workshop) as crew:
        crew.start()
        log = await crew.run("supervisor", message="Hello.")

    assert log[-1]["data"]["error"]["code"] == "nobody_can_help"
    assert "params.agents" in log[-1]["data"]["error"]["message"]


async def test_the_next_attempt_goes_on_with_what_members_have_done(crew):
    crew.start()
    params = {"agents": ["counting", "hanging"]}
    run_id = await crew.register("supervisor", params=params, terms=make_terms(restartable=True))
    await until(lambda: crew.hanging)
    await crew.stop()
    crew.gate.set()
    crew.start()
    log = await crew.log_of(run_id)

    statuses = [(child.agent_name, child.status) for child in await crew.children_of(run_id)]
    assert log[-1]["data"]["status"] == "completed"
    assert sorted(statuses) == [("counting", "completed"), ("hanging", "completed"), ("hanging", "lost")]


@given(st.lists(st.sampled_from(["analyst", "assistant", "counting", "failing"]), min_size=1, max_size=4))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_is_asked_the_pieces_join_to_the_answer(transactional_db, agents):
    async def run():
        shop = Workshop()
        add_team(shop)
        async with crew_of(shop, "") as crew:
            crew.start()
            log = await crew.run("supervisor", message=CSV, params={"agents": agents})
        await shop.close()
        return log

    log = asyncio.run(run())

    if set(agents) == {"failing"}:
        assert log[-1]["data"]["error"]["code"] == "nobody_could_help"
    else:
        assert output(log).count("failed: No model") == agents.count("failing")
