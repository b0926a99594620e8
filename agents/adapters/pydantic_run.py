"""One run of a pydantic-ai agent: its events told as Netra's, its tools through Netra's dispatcher."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

from msgspec import UNSET
from pydantic import TypeAdapter
from pydantic_ai import (
    Agent,
    AgentRunResultEvent,
    AgentStreamEvent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    ModelRetry,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    RunContext,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolDefinition,
)
from pydantic_ai.capabilities import AbstractCapability, WrapModelRequestHandler
from pydantic_ai.exceptions import ModelConnectionError, ToolFailed, ToolFailedError, ToolRetryError
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import Tool as ModelTool
from pydantic_ai.toolsets import FunctionToolset
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_core import PydanticSerializationError, to_jsonable_python

from agents.adapters.failures import as_agent_error
from agents.context import AgentExecutionContext, AnswerStream
from agents.errors import ToolError
from agents.events import Usage
from agents.showing import for_model
from agents.tools import Tool

THOUGHT_CHARACTERS: Final = 240
"""Reasoning that streams is told in sentences of at least this length, not token by token."""
_ANSWERS: Final = (ModelRetry, ToolFailed, ToolRetryError, ToolFailedError)
"""What a tool raises to say something to the model."""
_RESPONSE: Final = TypeAdapter(ModelResponse)
_SENTENCE_END: Final = re.compile(r"[.!?:]\s|\n")


async def run(
    agent: Agent[Any, Any],
    context: AgentExecutionContext,
    prompt: str,
    *,
    history: Iterable[ModelMessage],
    deps: Any,
    usage_limits: UsageLimits | None,
    offer_tools: bool,
) -> Any:
    usage = RunUsage()
    try:
        async with (
            agent.run_stream_events(
                prompt,
                message_history=list(history),
                deps=deps,
                usage=usage,
                usage_limits=usage_limits,
                toolsets=[_toolset(context.tools.offered if offer_tools else {})],
                capabilities=[_Through(context)],
                infer_name=False,
            ) as events,
            AsyncExitStack() as opened,
        ):
            told = _Told(context, opened, shows_text=agent.output_type is str)
            output: Any = None
            async for event in events:
                if isinstance(event, AgentRunResultEvent):
                    output = event.result.output
                else:
                    await told.tell(event)
        return told.text or to_jsonable_python(output)
    except Exception as error:
        if (known := as_agent_error(error)) is not None:
            raise known from error
        raise
    finally:
        _add_usage(context, usage)


class _Told:
    """What the user sees of the agent's events."""

    def __init__(self, context: AgentExecutionContext, opened: AsyncExitStack, *, shows_text: bool) -> None:
        self._context = context
        self._opened = opened
        self._shows_text = shows_text
        self._written: list[str] = []
        self._thought = ""
        self._stream: AnswerStream | None = None

    @property
    def text(self) -> str:
        return "".join(self._written)

    async def tell(self, event: AgentStreamEvent) -> None:
        match event:
            case PartStartEvent(part=TextPart(content=text)):
                await self._write(text, begins=True)
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                await self._write(text)
            case (
                PartStartEvent(part=ThinkingPart(content=text))
                | PartDeltaEvent(delta=ThinkingPartDelta(content_delta=str(text)))
            ):
                await self._think(text)
            case PartEndEvent(part=ThinkingPart()):
                await self._think("", ends=True)
            case _:  # tool calls are told by the dispatcher, the rest is of no use to a user
                pass

    async def _write(self, text: str, *, begins: bool = False) -> None:
        if not self._shows_text or not (text or self._stream):
            return
        if self._stream is None:
            self._stream = await self._opened.enter_async_context(self._context.stream())
        elif begins:
            text = f"\n\n{text}"  # the model said something before it called a tool
        text = text.encode("utf-8", "replace").decode()  # half of an emoji is no text that JSON can carry
        self._written.append(text)
        await self._stream.write(text)

    async def _think(self, text: str, *, ends: bool = False) -> None:
        self._thought += text
        ready = self._thought if ends else _whole_sentences(self._thought)
        self._thought = self._thought[len(ready) :]
        if ready.strip():
            await self._context.think(ready.strip())


class _Through(AbstractCapability[Any]):
    """Takes tool calls through Netra's dispatcher, refuses answers that broke off, and asks the model nothing twice."""

    def __init__(self, context: AgentExecutionContext) -> None:
        self._context = context

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any], handler: Any
    ) -> Any:
        """What the tool returned; a failure is told to the model, which may try again or do without."""
        own = self._context.tools.offered.get(tool_def.name)
        returned: list[Any] = []

        async def work(**_: Any) -> Any:
            try:
                returned.append(await handler(args))
            except _ANSWERS as error:
                raise ToolError("tool_failed", str(error)) from error
            return to_jsonable_python(returned[0])

        work.__name__ = tool_def.name
        try:
            result = await self._context.tools.dispatch(tool_def.name, own or Tool(work), call.args_as_dict())
        except ToolError as error:
            if isinstance(error.__cause__, _ANSWERS):
                raise error.__cause__ from error
            raise (ModelRetry if error.code == "invalid_arguments" else ToolFailed)(error.message) from error
        return returned[0] if returned and not own else for_model(result)

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: WrapModelRequestHandler
    ) -> ModelResponse:
        """The response; what an earlier attempt at the run has been answered is not asked again."""
        answers = self._context.model_answers
        key = answers.key_of(lambda: _asked(request_context))
        if key is None:
            return await handler(request_context)
        if (earlier := answers.earlier(key)) is not None:
            return _RESPONSE.validate_json(earlier)
        response = await handler(request_context)
        with suppress(PydanticSerializationError):  # text that no JSON can carry: it is asked again
            await answers.keep(key, _RESPONSE.dump_json(response).decode())
        return response

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """The response; one of an OpenAI-compatible endpoint that never said why it ended has lost its end."""
        if response.finish_reason == "stop" and "finish_reason" not in (response.provider_details or {}):
            raise ModelConnectionError(str(response.model_name), "the stream ended before the answer did", phase="read")
        return response


def _toolset(offered: Mapping[str, Tool]) -> FunctionToolset[Any]:
    """The Netra agent's own tools as the model is to see them; `_Through` calls them."""
    return FunctionToolset(
        [
            ModelTool.from_schema(_never, name=tool.name, description=tool.description, json_schema=tool.json_schema)
            for tool in offered.values()
        ]
    )


def _asked(request: ModelRequestContext) -> Any:
    """What is the same when the same is asked of the same model in another attempt."""
    messages = ModelMessagesTypeAdapter.dump_python(request.messages, mode="json")
    parameters = request.model_request_parameters
    return [
        request.model.model_name,
        [[tool.name, tool.parameters_json_schema] for tool in (*parameters.function_tools, *parameters.output_tools)],
        [[each["kind"], each.get("instructions"), [_lasting(part) for part in each["parts"]]] for each in messages],
    ]


def _lasting(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "timestamp"}


def _never(**_: Any) -> None:
    raise AssertionError("Netra's own tools are called by its dispatcher")


def _whole_sentences(text: str) -> str:
    if len(text) < THOUGHT_CHARACTERS:
        return ""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""


def _add_usage(context: AgentExecutionContext, usage: RunUsage) -> None:
    """Adds to what earlier agents of the same run have used."""
    if not usage.requests and not usage.total_tokens:
        return
    before = context.usage or Usage(requests=0, input_tokens=0, output_tokens=0)
    cost = 0.0 if before.cost is UNSET else before.cost
    context.usage = Usage(
        requests=before.requests + usage.requests,
        input_tokens=before.input_tokens + usage.input_tokens,
        output_tokens=before.output_tokens + usage.output_tokens,
        cost=before.cost if usage.cost is None else cost + float(usage.cost),
    )
