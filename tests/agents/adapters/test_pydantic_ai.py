import asyncio
from typing import Literal

import msgspec
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelResponse, ModelRetry, RunContext
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import UsageLimits

from agents.adapters.pydantic_ai import pydantic_agent
from agents.tiers import TIERS
from tests.runs import Workshop, make_terms


async def run(workshop, agent, message="Go.", timeout=40.0, tools=(), **options):
    workshop.registry.register_agent_safely(
        "test", pydantic_agent(lambda context: agent, **options), streaming=True, tools=tools
    )
    return await workshop.execute(await workshop.claim(message=message, terms=make_terms(timeout=timeout)))


def told(log, kind):
    return [frame["data"] for frame in log if frame["type"] == kind]


def shown(log):
    return "".join(data["delta"] for data in told(log, "partial_result"))


def result(log):
    return log[-1]["data"]["result"]


def turns(*answers):
    """A model that streams one answer after the other: texts, {index: thought or tool call}."""

    async def stream(messages, info: AgentInfo):
        count = sum(isinstance(message, ModelResponse) for message in messages)
        for piece in answers[min(count, len(answers) - 1)]:
            yield piece

    return FunctionModel(stream_function=stream)


def calls(name, arguments, number=0):
    return {number: DeltaToolCall(name=name, json_args=arguments, tool_call_id=f"call_{number}")}


async def test_text_is_shown_as_it_comes_and_joined_is_the_answer(workshop):
    log = await run(workshop, Agent(turns(["One, ", "two, ", "three."])))

    assert shown(log) == result(log)["output"] == "One, two, three."
    assert told(log, "partial_result")[-1]["is_complete"]


async def test_the_agent_reads_the_message_and_its_deps(workshop):
    agent = Agent(TestModel(custom_output_text="read"), deps_type=str)
    seen = []

    @agent.instructions
    def tell(context: RunContext[str]) -> str:
        seen.append((context.deps, context.prompt))
        return ""

    await run(workshop, agent, message="Hello?", deps=lambda context: f"user {context.user_id > 0}")

    assert seen == [("user True", "Hello?")]


async def test_reasoning_is_told_as_thinking_in_whole_sentences(workshop):
    thought = "First I look. " * 40
    deltas = [{0: DeltaThinkingPart(content=thought[start : start + 7])} for start in range(0, len(thought), 7)]

    log = await run(workshop, Agent(turns([*deltas, "Done."])))

    thoughts = [data["reasoning"] for data in told(log, "agent_thinking")][1:]
    assert " ".join(thoughts) == thought.strip()
    assert 1 < len(thoughts) < 5
    assert shown(log) == result(log)["output"] == "Done."


async def test_its_tools_go_through_the_dispatcher(workshop):
    agent = Agent(turns(["I add.", calls("add", '{"a": 2, "b": 3}')], ["It is 5."]))

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    log = await run(workshop, agent)

    types = [frame["type"] for frame in log]
    assert types.index("partial_result") < types.index("tool_executing") < types.index("tool_completed")
    assert told(log, "tool_executing")[0]["arguments"] == {"a": 2, "b": 3}
    assert (told(log, "tool_completed")[0]["status"], told(log, "tool_completed")[0]["result"]) == ("success", 5)
    assert shown(log) == result(log)["output"] == "I add.\n\nIt is 5."


async def test_the_model_gets_a_tools_own_object_and_the_user_its_json(workshop):
    class Town(BaseModel):
        name: str
        password: str

    agent = Agent(turns([calls("find", "{}")], ["Found."]), output_type=str)

    @agent.tool_plain
    def find() -> Town:
        return Town(name="Ulm", password="hush")

    log = await run(workshop, agent)

    assert told(log, "tool_completed")[0]["result"] == {"name": "Ulm", "password": "[redacted]"}


async def test_a_tool_that_fails_is_told_and_the_model_goes_on(workshop):
    agent = Agent(turns([calls("fail", "{}")], ["I do without."]))

    @agent.tool_plain
    def fail() -> None:
        raise RuntimeError("secret detail")

    log = await run(workshop, agent)

    completed = told(log, "tool_completed")[0]
    assert (completed["status"], completed["error"]["code"]) == ("error", "tool_failed")
    assert "secret detail" not in str(log)
    assert result(log)["output"] == "I do without."


async def test_a_tool_that_asks_for_a_retry_gets_one(workshop):
    agent = Agent(turns([calls("guess", '{"n": 1}')], [calls("guess", '{"n": 7}')], ["Seven."]))

    @agent.tool_plain
    def guess(n: int) -> str:
        if n != 7:
            raise ModelRetry("Higher.")
        return "right"

    log = await run(workshop, agent)

    assert [data["status"] for data in told(log, "tool_completed")] == ["error", "success"]
    assert told(log, "tool_completed")[0]["error"]["message"] == "Higher."
    assert result(log)["output"] == "Seven."


async def test_arguments_that_never_fit_end_the_run_with_a_code(workshop):
    agent = Agent(turns([calls("add", '{"a": "two"}')]))

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    log = await run(workshop, agent)

    assert (log[-1]["data"]["status"], log[-1]["data"]["error"]["code"]) == ("failed", "model_output_invalid")


@pytest.mark.django_db(transaction=True)
async def test_a_tool_that_hangs_is_told_to_the_model():
    agent = Agent(turns([calls("hang", "{}")], ["It hangs."]))
    stopped = []

    @agent.tool_plain
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    hasty = Workshop({"free": msgspec.structs.replace(TIERS["free"], tool=0.2)})
    log = await run(hasty, agent)
    await hasty.close()

    assert told(log, "tool_completed")[0]["status"] == "timed_out"
    assert result(log)["output"] == "It hangs."
    assert stopped == [True]


async def test_structured_output_is_the_result_as_json(workshop):
    class Town(BaseModel):
        name: str
        people: int

    agent = Agent(TestModel(custom_output_args={"name": "Ulm", "people": 128_000}), output_type=Town)

    log = await run(workshop, agent)

    assert result(log)["output"] == {"name": "Ulm", "people": 128_000}
    assert shown(log) == ""


async def test_half_a_character_does_not_break_the_answer(workshop):
    log = await run(workshop, Agent(turns(["A \ud83d", "b"])))

    assert shown(log) == result(log)["output"] == "A ?b"


async def test_usage_lands_in_the_completion_also_when_the_run_fails(workshop):
    agent = Agent(turns([calls("add", '{"a": 2, "b": 3}')]))

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    log = await run(workshop, agent, usage_limits=UsageLimits(request_limit=3))

    assert log[-1]["data"]["error"]["code"] == "model_usage_limit"
    assert len(told(log, "tool_completed")) == 3
    usage = result(log)["metadata"]["usage"]
    assert usage["requests"] == 3
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0
    assert "cost" not in usage


async def test_a_cancelled_run_stops_the_model_and_keeps_what_was_shown(workshop):
    stopped = []

    async def stream(messages, info):
        try:
            yield "Once upon "
            yield "a time"
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    log = await run(workshop, Agent(FunctionModel(stream_function=stream)), timeout=1.5)

    assert log[-1]["data"]["status"] == "timed_out"
    assert shown(log) == result(log)["output"] == "Once upon a time"
    assert stopped == [True]


async def test_a_bug_in_the_agent_is_told_as_internal(workshop):
    async def stream(messages, info):
        yield "Well, "
        raise LookupError("secret detail")

    log = await run(workshop, Agent(FunctionModel(stream_function=stream)))

    assert log[-1]["data"]["error"]["code"] == "internal"
    assert "secret detail" not in str(log)


async def test_the_agents_own_tools_are_offered_by_their_schema_and_checked(workshop):
    offered = []

    def count(text: str, mode: Literal["words", "lines"] = "words") -> dict[str, object]:
        """Counts a text."""
        return {"count": len(text.split()), "token": "hush", "long": "x" * 100_000}

    async def stream(messages, info):
        offered.extend(info.function_tools)
        match sum(isinstance(message, ModelResponse) for message in messages):
            case 0:
                yield calls("count", '{"text": 3}')
            case 1:
                yield calls("count", '{"text": "a b"}')
            case _:
                yield str(messages[-1].parts[0].content)

    log = await run(workshop, Agent(FunctionModel(stream_function=stream)), tools=[count])

    assert [(tool.name, tool.description) for tool in offered[:1]] == [("count", "Counts a text.")]
    assert offered[0].parameters_json_schema["required"] == ["text"]
    assert offered[0].parameters_json_schema["properties"]["mode"]["enum"] == ["lines", "words"]
    wrong, right = told(log, "tool_completed")
    assert wrong["error"]["code"] == "invalid_arguments"
    assert right["result"]["count"] == 2
    assert "hush" not in result(log)["output"]
    assert len(result(log)["output"]) < 25_000
