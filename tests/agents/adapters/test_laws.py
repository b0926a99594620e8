"""Partial results joined are the answer, whatever an adapted agent writes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai import Agent, ModelResponse
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel

from agents.adapters.generators import generator_agent
from agents.adapters.pydantic_ai import load, pydantic_agent

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=8)


@pytest.fixture
def hold(workshop):
    """Holds a law in one real run; it gets a function from an agent class to its output and what was shown of it."""

    async def hold(law):
        await load()
        loop = asyncio.get_running_loop()

        async def execute(context):
            async def once(agent_class):
                before = len(context.produced)
                output = await agent_class().execute(context)
                return output, "".join(context.produced[before:])

            def wait(agent_class):
                return asyncio.run_coroutine_threadsafe(once(agent_class), loop).result(20)

            await asyncio.to_thread(law, wait)

        log = await workshop.run(execute)
        assert log[-1]["data"]["error"] is None

    return hold


async def test_of_a_generator(hold):
    def law(run):
        @settings(max_examples=30)
        @given(TEXTS)
        def holds(texts):
            async def generate(context):
                for text in texts:
                    yield text

            output, shown = run(generator_agent(generate))
            assert shown == output == "".join(texts)

        holds()

    await hold(law)


async def test_of_a_pydantic_ai_agent_that_thinks_and_calls_a_tool(hold):
    def law(run):
        @settings(max_examples=30)
        @given(TEXTS, TEXTS, TEXTS)
        def holds(before, thoughts, after):
            output, shown = run(pydantic_agent(lambda context: thoughtful(before, thoughts, after)))
            assert shown == output
            assert output.startswith("".join(before))
            assert output.endswith("".join(after) + ".")

        holds()

    await hold(law)


def thoughtful(before, thoughts, after):
    async def stream(messages, info):
        if any(isinstance(message, ModelResponse) for message in messages):
            for text in [*after, "."]:
                yield text
            return
        for thought in thoughts:
            yield {0: DeltaThinkingPart(content=thought)}
        for text in before:
            yield text
        yield {1: DeltaToolCall(name="look", json_args="{}", tool_call_id="call_1")}

    agent = Agent(FunctionModel(stream_function=stream))

    @agent.tool_plain
    def look() -> str:
        return "seen"

    return agent
