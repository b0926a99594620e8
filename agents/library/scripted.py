"""`scripted` does what `params.script` says, in order: for tests, benchmarks and experiments.

An ordinary agent on the ordinary path; registered only when NETRA_TEST_AGENTS=1.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from agents.context import AgentExecutionContext
from agents.errors import AgentError, ChildFailed, ToolError
from agents.registry import agent
from agents.runs import RunRequest
from agents.team import Child
from agents.tools import tool


class ScriptFailed(Exception):
    """What `{"raise": text}` raises: an error of the agent's own, as any bug would be."""


class Step(msgspec.Struct, forbid_unknown_fields=True, rename={"raise_": "raise", "return_": "return"}):
    """One step; exactly one of its verbs is given. Times are in seconds, `rate` in events per second."""

    think: str | None = None
    tool: str | None = None
    parallel: list[Step] | None = None
    child: str | None = None
    children: list[Step] | None = None
    approval: str | None = None
    stream: str | None = None
    emit: int | None = None
    sleep: float | None = None
    block: float | None = None
    raise_: str | None = None
    return_: Any = msgspec.UNSET
    message: str = "Go."
    params: dict[str, Any] = {}
    timeout: float | None = None
    arguments: dict[str, Any] = {}
    catch: bool = False
    chunks: int = 1
    rate: float | None = None
    bytes: int = 0


@tool(repeatable=True)
async def echo(**arguments: Any) -> dict[str, Any]:
    """Returns its arguments."""
    return arguments


@tool(repeatable=True)
async def sleep(seconds: float) -> float:
    """Waits for so many seconds and returns their number."""
    await asyncio.sleep(seconds)
    return seconds


@tool(repeatable=True)
async def fail(message: str = "This tool always fails.") -> None:
    """Fails with the message."""
    raise ToolError("tool_failed", message)


@tool(approval=True, repeatable=True)
async def deliver(to: str, copies: int = 1) -> str:
    """Says what it would deliver, if somebody approves it."""
    return f"{copies} for {to}"


def _is_restartable(request: RunRequest) -> bool:
    return request.params.get("restartable") is True


@agent(
    "scripted",
    description="Does the steps in params.script; for tests and experiments.",
    tools=[echo, sleep, fail, deliver],
    streaming=True,
    restartable=_is_restartable,
    breaker=False,  # it fails whenever it is told to
)
class Scripted:
    async def execute(self, context: AgentExecutionContext) -> Any:
        """Returns the value of the `return` step, or None."""
        for step in _read_script(context.request.params.get("script")):
            if step.return_ is not msgspec.UNSET:
                return step.return_
            await _do(step, context)
        return None


def _read_script(script: Any) -> list[Step]:
    if script is None:
        raise AgentError("no_script", "Put a list of steps into params.script.")
    try:
        steps = msgspec.convert(script, list[Step])
    except msgspec.ValidationError as error:
        raise AgentError("bad_script", f"params.script cannot be read: {error}") from error
    for number, step in enumerate(steps, 1):
        if len(_verbs(step)) != 1:
            raise AgentError("bad_script", f"Step {number} of params.script needs exactly one of: {', '.join(VERBS)}.")
    return steps


def _verbs(step: Step) -> list[str]:
    verbs = [verb for verb in _ACTIONS if getattr(step, verb) is not None]
    return verbs if step.return_ is msgspec.UNSET else [*verbs, "return_"]


async def _do(step: Step, context: AgentExecutionContext) -> None:
    await _ACTIONS[_verbs(step)[0]](step, context)


async def _think(step: Step, context: AgentExecutionContext) -> None:
    await context.think(str(step.think))


async def _call_tool(step: Step, context: AgentExecutionContext) -> None:
    try:
        await context.tools.call(str(step.tool), **step.arguments)
    except ToolError:
        if not step.catch:
            raise


async def _in_parallel(step: Step, context: AgentExecutionContext) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for part in step.parallel or ():
                group.create_task(_do(part, context))
    except* ToolError as errors:
        raise errors.exceptions[0] from errors


async def _run_child(step: Step, context: AgentExecutionContext) -> None:
    try:
        await context.run_agent(str(step.child), step.message, params=step.params, timeout=step.timeout)
    except ChildFailed:
        if not step.catch:
            raise


async def _run_children(step: Step, context: AgentExecutionContext) -> None:
    children = [Child(str(part.child), part.message, part.params, part.timeout) for part in step.children or ()]
    await context.run_parallel(children, go_on=step.catch)


async def _ask(step: Step, context: AgentExecutionContext) -> None:
    answer = await context.ask_approval(str(step.approval), arguments=step.arguments, timeout=step.timeout)
    if not (answer.is_approved or step.catch):
        raise AgentError(answer.decision, f"The approval was not given: {answer.comment or answer.decision}")
    await context.think(f"{answer.decision}: {json.dumps(answer.arguments)}")


async def _stream(step: Step, context: AgentExecutionContext) -> None:
    text, chunks = str(step.stream), max(1, step.chunks)
    size = max(1, -(-len(text) // chunks))
    async with context.stream() as stream:
        for start in range(0, len(text), size):
            await stream.write(text[start : start + size])
            await asyncio.sleep(0)


async def _emit(step: Step, context: AgentExecutionContext) -> None:
    begin = time.monotonic()
    for number in range(1, (step.emit or 0) + 1):
        if step.rate:
            await asyncio.sleep(max(0.0, begin + number / step.rate - time.monotonic()))
        await context.think(f"event {number}".ljust(step.bytes, "."))


async def _sleep(step: Step, context: AgentExecutionContext) -> None:
    await asyncio.sleep(step.sleep or 0)


async def _block(step: Step, context: AgentExecutionContext) -> None:
    time.sleep(step.block or 0)  # noqa: ASYNC251 - blocks the event loop, on purpose


async def _raise(step: Step, context: AgentExecutionContext) -> None:
    raise ScriptFailed(step.raise_)


_ACTIONS: Final[Mapping[str, Callable[[Step, AgentExecutionContext], Awaitable[None]]]] = {
    "think": _think,
    "tool": _call_tool,
    "parallel": _in_parallel,
    "child": _run_child,
    "children": _run_children,
    "approval": _ask,
    "stream": _stream,
    "emit": _emit,
    "sleep": _sleep,
    "block": _block,
    "raise_": _raise,
}
VERBS: Final = [verb.rstrip("_") for verb in (*_ACTIONS, "return_")]
