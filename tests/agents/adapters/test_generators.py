import pytest

from agents.adapters.generators import generator_agent
from agents.errors import AgentRefused
from tests.runs import make_terms


async def run(workshop, generate, timeout=40.0):
    workshop.registry.register_agent_safely("test", generator_agent(generate), streaming=True)
    return await workshop.execute(await workshop.claim(message="a b", terms=make_terms(timeout=timeout)))


def shown(log):
    return "".join(frame["data"]["delta"] for frame in log if frame["type"] == "partial_result")


async def test_what_a_generator_yields_is_shown_and_is_the_answer(workshop):
    async def recite(context):
        for word in context.request.message.split():
            yield f"{word}; "

    log = await run(workshop, recite)

    assert shown(log) == log[-1]["data"]["result"]["output"] == "a; b; "


async def test_a_generator_that_yields_nothing_answers_with_an_empty_text(workshop):
    async def silent(context):
        return
        yield

    assert (await run(workshop, silent))[-1]["data"]["result"]["output"] == ""


async def test_a_generator_is_closed_when_its_run_ends_early(workshop):
    closed = []

    async def endless(context):
        try:
            while True:
                yield "on "
                await context.think("And on.")
        finally:
            closed.append(True)

    log = await run(workshop, endless, timeout=1.0)

    assert log[-1]["data"]["status"] == "timed_out"
    assert shown(log) == log[-1]["data"]["result"]["output"]
    assert closed == [True]


def test_what_is_no_generator_is_refused():
    async def plain(context):
        return "text"

    with pytest.raises(AgentRefused, match="is no async generator function"):
        generator_agent(plain)  # type: ignore[arg-type]
