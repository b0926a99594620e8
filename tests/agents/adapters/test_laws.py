"""Partial results joined are the answer, whatever an adapted agent writes."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai import Agent, ModelResponse
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel

from agents.adapters.generators import generator_agent
from agents.adapters.pydantic_ai import pydantic_agent
from agents.context import AgentExecutionContext
from agents.runs import Run, RunRequest
from agents.tools import ToolDispatcher, enhance_tool_dispatcher_with_notifications

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=8)


class Listener:
    """Keeps what is shown of a run, as text."""

    def __init__(self):
        self.shown = ""
        self.ends = []

    async def notify_partial_result(self, message_id, delta, *, is_complete):
        self.shown += delta
        self.ends.append(is_complete)

    async def notify_agent_thinking(self, reasoning, **_):
        pass

    async def notify_tool_executing(self, *_):
        pass

    async def notify_tool_completed(self, *_, **__):
        pass


def execute(agent_class):
    """The agent's output and what was shown of it."""
    listener = Listener()
    run = Run(
        pk=1,
        run_id="run_1",
        thread_id="thread_1",
        parent_run_id=None,
        user_id=1,
        agent_name="test",
        request=RunRequest(agent="test", message="Go."),
        correlation_id="1",
        tier="free",
        timeout=40.0,
        attempt=1,
        created_at=datetime.now(UTC),
    )
    agent = agent_class()
    context = AgentExecutionContext(
        run=run,
        agent=agent,
        tools={},
        dispatcher=enhance_tool_dispatcher_with_notifications(ToolDispatcher()),
        notifier=cast("Any", listener),
        tool_timeout=30.0,
    )
    return asyncio.run(agent.execute(context)), listener


@given(TEXTS)
def test_of_a_generator(texts):
    async def generate(context):
        for text in texts:
            yield text

    output, listener = execute(generator_agent(generate))

    assert listener.shown == output == "".join(texts)
    assert listener.ends.count(True) == 1
    assert listener.ends[-1]


@given(before=TEXTS, thoughts=TEXTS, after=TEXTS)
def test_of_a_pydantic_ai_agent_that_thinks_and_calls_a_tool(before, thoughts, after):
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

    output, listener = execute(pydantic_agent(lambda context: agent))

    assert listener.shown == output
    assert output.startswith("".join(before))
    assert output.endswith("".join(after) + ".")
    assert listener.ends.count(True) == 1
    assert listener.ends[-1]
