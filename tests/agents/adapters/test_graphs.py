"""LangGraph graphs as agents: real ones, whose models are scripts."""

import asyncio
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from agents.adapters.graphs import graph_agent, graph_tools
from agents.errors import ToolError
from agents.tools import tool
from tests.runs import make_terms


async def run(workshop, build, *, tools=(), timeout=40.0, **options):
    agent_class = graph_agent(build, **options)
    workshop.registry.register_agent_safely("test", agent_class, streaming=True, tools=tools)
    return await workshop.execute(await workshop.claim(message="Go on.", terms=make_terms(timeout=timeout)))


def told(log, kind):
    return [frame["data"] for frame in log if frame["type"] == kind]


def shown(log):
    return "".join(data["delta"] for data in told(log, "partial_result"))


def output(log):
    assert log[-1]["data"]["status"] == "completed", log[-1]
    return log[-1]["data"]["result"]["output"]


def chain(**nodes: Any) -> Any:
    """A graph of these nodes, one after the other."""
    graph = StateGraph(MessagesState)
    for before, (name, node) in zip([START, *nodes], nodes.items(), strict=False):
        graph.add_node(name, node)
        graph.add_edge(before, name)
    graph.add_edge(list(nodes)[-1], END)
    return graph.compile()


def says(*texts: str) -> Any:
    """A node with a model that streams one text after the other, word by word."""
    model = GenericFakeChatModel(messages=iter([AIMessage(text) for text in texts]))

    async def node(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return node


async def test_text_is_shown_as_it_comes_and_joined_is_the_answer(workshop):
    log = await run(workshop, lambda context: chain(plan=says("First I plan."), answer=says("Then I answer.")))

    assert shown(log) == output(log) == "First I plan.\n\nThen I answer."
    thoughts = [data["reasoning"] for data in told(log, "agent_thinking")]
    assert thoughts[1:] == ["plan is at work.", "answer is at work."]
    assert [data["is_complete"] for data in told(log, "partial_result")][-1]


async def test_only_speakers_are_heard(workshop):
    graph = chain(plan=says("A secret plan."), answer=says("The answer."))

    log = await run(workshop, lambda context: graph, speakers={"answer"})

    assert output(log) == shown(log) == "The answer."


async def test_without_speakers_the_answer_is_the_last_message(workshop):
    log = await run(workshop, lambda context: chain(answer=says("The answer.")), speakers=())

    assert (output(log), shown(log)) == ("The answer.", "")


async def test_a_graph_reads_the_message_and_may_answer_with_its_state(workshop):
    class Counts(TypedDict):
        text: str
        words: int

    def build(context):
        graph = StateGraph(Counts)
        graph.add_node("count", lambda state: {"words": len(state["text"].split())})
        graph.add_edge(START, "count")
        return graph.compile()

    log = await run(workshop, build, start=lambda context: {"text": context.request.message})

    assert output(log) == {"text": "Go on.", "words": 2}
    assert told(log, "partial_result") == []


PRICES = {"tea": 3}


@tool
def price_of(item: str) -> dict[str, Any]:
    """Looks up a price."""
    if item not in PRICES:
        raise ToolError("not_sold", f"We sell no {item}.")
    return {"price": PRICES[item], "password": "hush"}


def call(item: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "price_of", "args": {"item": item}, "id": f"call_{item}"}])


async def test_its_tools_go_through_the_dispatcher(workshop):
    heard: list[str] = []

    def hear(state: Any) -> dict[str, Any]:
        heard.extend(message.content for message in state["messages"] if message.type == "tool")
        return {"messages": [AIMessage("Tea it is.")]}

    def build(context):
        ask = ToolNode(graph_tools(context))
        return chain(
            one=lambda state: {"messages": [call("tea")]},
            two=ask,
            three=lambda state: {"messages": [call("gold")]},
            four=ask,
            five=hear,
        )

    log = await run(workshop, build, tools=[price_of])

    completed = told(log, "tool_completed")
    assert [data["arguments"] for data in told(log, "tool_executing")] == [{"item": "tea"}, {"item": "gold"}]
    assert [data["status"] for data in completed] == ["success", "error"]
    assert heard == ['{"price": 3, "password": "[redacted]"}', "We sell no gold."]
    assert output(log) == "Tea it is."


async def test_a_cancelled_run_cancels_its_graph(workshop):
    ended: list[str] = []

    async def sleep(state: Any) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")
        return {}

    log = await run(workshop, lambda context: chain(sleep=sleep), timeout=2.0)

    assert log[-1]["data"]["status"] == "timed_out"
    assert ended == ["cancelled"]


async def test_what_goes_wrong_in_a_node_ends_the_run_without_details(workshop):
    def fail(state: Any) -> dict[str, Any]:
        raise ValueError("secret detail")

    log = await run(workshop, lambda context: chain(answer=says("Half of it."), fail=fail))

    assert log[-1]["data"]["error"]["code"] == "internal"
    assert "secret detail" not in str(log)
    assert shown(log) == log[-1]["data"]["result"]["output"] == "Half of it."


async def test_a_graph_that_interrupts_itself_is_told_what_to_do_instead(workshop):
    log = await run(workshop, lambda context: chain(ask=lambda state: {"messages": [interrupt("Shall I?")]}))

    assert log[-1]["data"]["error"]["code"] == "graph_interrupted"
    assert "context.ask_approval" in log[-1]["data"]["error"]["message"]


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), min_size=1, max_size=4)


async def test_partial_results_joined_are_the_answer(workshop):
    loop = asyncio.get_running_loop()

    async def execute(context):
        async def once(texts: list[str]) -> tuple[Any, str]:
            before = len(context.produced)
            nodes = {f"n{number}": says(text) for number, text in enumerate(texts)}
            answer = await graph_agent(lambda _: chain(**nodes))().execute(context)
            return answer, "".join(context.produced[before:])

        @settings(deadline=None, max_examples=25)
        @given(TEXTS)
        def law(texts):
            answer, seen = asyncio.run_coroutine_threadsafe(once(texts), loop).result(20)
            assert answer == seen == "\n\n".join(texts)

        await asyncio.to_thread(law)

    log = await workshop.run(execute)
    assert log[-1]["data"]["error"] is None


async def test_without_langgraph_the_run_says_what_to_install(workshop, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "langgraph.graph", None)

    log = await run(workshop, lambda context: pytest.fail("it was built"))

    assert log[-1]["data"]["error"]["code"] == "adapter_not_installed"
    assert "Install langgraph." in log[-1]["data"]["error"]["message"]
