"""A restartable agent's next attempt does not ask a language model again what it has been answered."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_ai import Agent

from agents.adapters.pydantic_ai import run_pydantic_agent
from agents.database import in_database
from agents.errors import Fenced
from agents.leases import EXPIRED
from agents.llm.endpoint import Endpoint
from agents.llm.openai_model import open_model
from agents.model_answers import MOST_CHARACTERS, ModelAnswers, keep_answer, read_answers
from agents.models import AgentExecution, ModelAnswer
from agents.pruning import prune_events
from agents.tools import tool
from netra.testing import laws
from tests.agents.crew import Crew, crew_of
from tests.agents.llm.endpoint import FakeEndpoint, call, silence, stream
from tests.runs import make_claim, make_terms, until, until_in_database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def crew(workshop):
    async with crew_of(workshop) as made:
        yield made


class Writer:
    """An agent on the model of an endpoint, with a tool of its own and one of Netra's, at which it hangs."""

    def __init__(self, crew: Crew, endpoint: FakeEndpoint, *, restartable: bool = True, moody: bool = False) -> None:
        self.crew = crew
        self.endpoint = endpoint
        self.notes: list[str] = []
        self.hung = asyncio.Event()

        @tool
        async def hang() -> str:
            self.hung.set()
            await crew.gate.wait()
            return "free"

        async def execute(context: Any) -> Any:
            where = Endpoint(base_url=endpoint.url, model="fake", timeout=10.0)
            async with open_model(where) as model:
                agent = Agent(model, instructions=f"Attempt {context.attempt}." if moody else "Write.")

                @agent.tool_plain
                def note(text: str) -> int:
                    self.notes.append(text)
                    return len(self.notes)

                return await run_pydantic_agent(agent, context, context.request.message)

        crew.workshop.add_agent(execute, "parent", restartable=restartable, tools=[hang], streaming=True)

    async def begin(self, *, restartable: bool = True) -> str:
        self.crew.start()
        return await self.crew.register(terms=make_terms(restartable=restartable))

    async def again(self, run_id: str) -> list[dict[str, Any]]:
        """The log, after another worker has taken the run over."""
        await self.crew.stop()
        self.crew.gate.set()
        self.crew.start()
        return await self.crew.log_of(run_id)


NOTE = stream("I note it.", call("note", '{"text": "first"}'), ends="tool_calls")
HANG = stream(call("hang", "{}", key="call_2"), ends="tool_calls")


def output(log):
    laws.require_lawful(log)
    assert log[-1]["data"]["status"] == "completed", log[-1]
    return log[-1]["data"]["result"]["output"]


async def test_what_was_answered_is_not_asked_again(crew):
    async with FakeEndpoint(NOTE, HANG, stream("All written.")) as endpoint:
        writer = Writer(crew, endpoint)
        run_id = await writer.begin()
        await asyncio.wait_for(writer.hung.wait(), 20)
        assert len(endpoint.requests) == 2
        log = await writer.again(run_id)

    assert output(log) == "I note it.\n\nAll written."
    assert len(endpoint.requests) == 3
    told = [message["content"] for message in endpoint.requests[2]["messages"] if message["role"] == "tool"]
    assert told[0] == "1"
    assert "whether it was done is not known" in told[1]
    assert writer.notes == ["first"]
    assert log[-1]["data"]["result"]["metadata"]["usage"]["requests"] == 3
    await until_in_database(lambda: not ModelAnswer.objects.exists())  # soon after the end is in the log


async def test_an_answer_that_was_not_whole_is_asked_for_again(crew):
    async with FakeEndpoint(stream("Half of", then=silence), stream("Half of it, and the rest.")) as endpoint:
        writer = Writer(crew, endpoint)
        run_id = await writer.begin()
        await until(lambda: len(endpoint.requests) == 1)
        await until_in_database(lambda: AgentExecution.objects.filter(run_id=run_id, last_seq__gt=2).exists())
        log = await writer.again(run_id)

    assert output(log) == "Half of it, and the rest."
    assert len(endpoint.requests) == 2


async def test_another_question_is_asked(crew):
    async with FakeEndpoint(NOTE, HANG, stream("Something else.")) as endpoint:
        writer = Writer(crew, endpoint, moody=True)
        run_id = await writer.begin()
        await asyncio.wait_for(writer.hung.wait(), 20)
        log = await writer.again(run_id)

    assert output(log) == "Something else."
    assert len(endpoint.requests) == 3


async def test_of_a_run_that_is_not_restartable_nothing_is_kept(crew):
    async with FakeEndpoint(NOTE, HANG, stream("Done.")) as endpoint:
        writer = Writer(crew, endpoint, restartable=False)
        run_id = await writer.begin(restartable=False)
        await asyncio.wait_for(writer.hung.wait(), 20)
        assert await in_database(ModelAnswer.objects.count) == 0
        crew.gate.set()
        log = await crew.log_of(run_id)

    assert output(log) == "I note it.\n\nDone."


async def test_the_same_question_twice_has_two_answers(transactional_db):
    run = (await in_database(make_claim)).run
    first = ModelAnswers(run, {}, keeps=True)
    for text in ("one", "two"):
        key = first.key_of(lambda: ["q"])
        assert key is not None
        assert first.earlier(key) is None
        await first.keep(key, text)

    second = ModelAnswers(run, await in_database(read_answers, run.pk), keeps=True)
    keys = [second.key_of(lambda: ["q"]) for _ in range(3)]
    assert [second.earlier(str(key)) for key in keys] == ["one", "two", None]
    await second.forget()
    assert await in_database(read_answers, run.pk) == {}


async def test_what_is_too_long_or_no_text_is_not_kept(transactional_db):
    run = (await in_database(make_claim)).run
    answers = ModelAnswers(run, {}, keeps=True)

    assert answers.key_of(lambda: ["\ud83d"]) is None
    await answers.keep("k", "x" * (MOST_CHARACTERS + 1))
    assert await in_database(read_answers, run.pk) == {}


def test_what_a_lost_deletion_has_left_goes_with_the_events(db):
    ended, live = make_claim().run, make_claim().run
    for run in (ended, live):
        keep_answer(run, "k", "text")
    end = {"status": "completed", "phase": "completed", "completed_at": EXPIRED, "completed_seq": 0}
    AgentExecution.objects.filter(pk=ended.pk).update(**end)

    list(prune_events(ended_before=datetime.now(UTC)))

    assert [answer.execution_id for answer in ModelAnswer.objects.all()] == [live.pk]


def test_who_has_lost_the_run_keeps_nothing(db):
    claim = make_claim()
    AgentExecution.objects.filter(pk=claim.run.pk).update(attempt=2)

    with pytest.raises(Fenced):
        keep_answer(claim.run, "k", "text")
    assert not ModelAnswer.objects.exists()
