"""A LangGraph graph as an agent. LangGraph itself is loaded by the first run that needs it.

def build(context):
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode
    ...
    graph.add_node("tools", ToolNode(graph_tools(context)))
    return graph.compile()

agent("planner", tools=[price_of], streaming=True)(graph_agent(build))
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, aclosing
from typing import Any

from agents.adapters.loading import load_beside
from agents.context import AgentExecutionContext, AnswerStream
from agents.errors import AgentError, ToolError
from agents.showing import for_model

Build = Callable[[AgentExecutionContext], Any]


def graph_agent(
    build: Build,
    *,
    start: Callable[[AgentExecutionContext], Any] | None = None,
    speakers: Collection[str] | None = None,
) -> type:
    """An agent class that runs the compiled graph that `build(context)` returns.

    Its nodes are told as thinking. The text of the `speakers` among them (None: all) is shown as it comes and is the
    answer; without any text it is the last message, or the graph's state. `start` makes the graph's input; None: the
    user's message as the first of `messages`.
    """

    class GraphAgent:
        async def execute(self, context: AgentExecutionContext) -> Any:
            await load_beside("langgraph.graph", name="LangGraph", install="langgraph")
            given = start(context) if start else {"messages": [("user", context.request.message)]}
            async with AsyncExitStack() as opened:
                told = _Told(context, opened, speakers)
                modes = ["tasks", "messages", "values"]
                async with aclosing(build(context).astream(given, stream_mode=modes)) as events:
                    async for mode, event in events:
                        await told.tell(mode, event)
            return told.answer

    return GraphAgent


class _Told:
    """What the user sees of the graph's events."""

    def __init__(
        self, context: AgentExecutionContext, opened: AsyncExitStack, speakers: Collection[str] | None
    ) -> None:
        self._context = context
        self._opened = opened
        self._speakers = speakers
        self._written: list[str] = []
        self._message_id: str | None = None
        self._stream: AnswerStream | None = None
        self._state: Any = None

    @property
    def answer(self) -> Any:
        messages = self._state.get("messages") if isinstance(self._state, dict) else None
        return "".join(self._written) or (str(messages[-1].text) if messages else self._state)

    async def tell(self, mode: str, event: Any) -> None:
        if mode == "messages":
            message, metadata = event
            is_models = message.type in {"ai", "AIMessageChunk"}
            if is_models and (self._speakers is None or metadata["langgraph_node"] in self._speakers):
                await self._write(message.text, message.id)
        elif mode == "tasks" and "input" in event:
            await self._context.think(f"{event['name']} is at work.")
        elif mode == "values":
            self._state = event
            if isinstance(event, dict) and "__interrupt__" in event:
                text = "This graph asks for a person by interrupt(). Have it await context.ask_approval(…) instead."
                raise AgentError("graph_interrupted", text)

    async def _write(self, text: str, message_id: str | None) -> None:
        if not text:
            return
        if self._stream is None:
            self._stream = await self._opened.enter_async_context(self._context.stream())
        elif message_id != self._message_id:
            text = f"\n\n{text}"
        self._message_id = message_id
        text = text.encode("utf-8", "replace").decode()  # half of an emoji is no text that JSON can carry
        self._written.append(text)
        await self._stream.write(text)


def graph_tools(context: AgentExecutionContext) -> list[Any]:
    """The tools with which the agent of this run was registered, for a ToolNode or a model's `bind_tools`.

    Their calls go through the dispatcher; what goes wrong in one is told to the model.
    """
    from langchain_core.tools import StructuredTool, ToolException  # noqa: PLC0415 - loaded when a run needs it

    def adapted(name: str) -> Callable[..., Any]:
        async def call(**arguments: Any) -> Any:
            try:
                return for_model(await context.tools.call(name, **arguments))
            except ToolError as error:
                raise ToolException(error.message) from error

        return call

    return [
        StructuredTool(
            name=tool.name,
            description=tool.description or tool.name,
            args_schema=tool.json_schema,
            coroutine=adapted(tool.name),
            handle_tool_error=True,
        )
        for tool in context.tools.offered.values()
    ]
