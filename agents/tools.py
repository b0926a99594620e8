"""Tools: plain typed functions that an agent calls, each call told to the user from beginning to end.

    @tool
    def count_words(text: str) -> int:
        "Counts the words of a text."
        return len(text.split())

Sync tools run in a thread, off the event loop. A tool that outlives its time-out is left behind: its thread ends when
the function returns, but nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec
import structlog

from agents.bridge import RunNotifier, ToolStatus
from agents.errors import AgentError, AgentRefused, ChildFailed, ToolError
from agents.events import Problem

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__netra_tool__"
_THREADS: Final = ThreadPoolExecutor(max_workers=32, thread_name_prefix="netra-tool")

CURRENT_CALL: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar("tool_call", default=None)
"""The id of the tool call that is under way here."""

log = structlog.get_logger(__name__)


class _Marks(msgspec.Struct, frozen=True):
    approval: bool = False
    repeatable: bool = False
    local: bool = False


@typing.overload
def tool(function: F, /) -> F: ...


@typing.overload
def tool(*, approval: bool = False, repeatable: bool = False, local: bool = False) -> Callable[[F], F]: ...


def tool(
    function: F | None = None, /, *, approval: bool = False, repeatable: bool = False, local: bool = False
) -> F | Callable[[F], F]:
    """Marks a function or method as a tool; its first docstring line tells people (and models) what it does.

    With `approval` a person is asked before each call, and may change its arguments. A call of a `repeatable` tool that
    was cut off when a worker died is made again by the run's next attempt; a `local` tool only works in the agent's own
    memory, and each attempt calls it anew.
    """

    def mark(marked: F) -> F:
        setattr(marked, _MARK, _Marks(approval=approval, repeatable=repeatable, local=local))
        return marked

    return mark if function is None else mark(function)


class Tool:
    """A function with the form of its arguments, read from its signature once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__
        self.needs_approval = marks_of(function).approval
        self.is_repeatable = marks_of(function).repeatable
        self.is_local = marks_of(function).local
        self.description = (inspect.getdoc(function) or "").partition("\n")[0]
        self._takes_any = any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(function).parameters.values()
        )
        self._form = _form_of(function, forbid_unknown_fields=not self._takes_any)

    @property
    def json_schema(self) -> dict[str, Any]:
        """Its arguments as the JSON Schema of one object, which is what models see."""
        _, parts = msgspec.json.schema_components([self._form])
        schema = {"properties": {}, **parts.pop(self._form.__name__)}
        if self._takes_any:
            schema["additionalProperties"] = True
        return {**schema, "$defs": parts} if parts else schema

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, converted to the types that the signature names; raises ToolError if they don't fit."""
        try:
            form = msgspec.convert(dict(arguments), self._form)
        except msgspec.ValidationError as error:
            raise ToolError("invalid_arguments", f"{self.name} was called with wrong arguments: {error}") from error
        checked = {name: getattr(form, name) for name in form.__struct_fields__}
        return {**arguments, **checked} if self._takes_any else checked

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        try:
            self.check(arguments)
        except ToolError:
            return False
        return True

    def read_result(self, told: Any) -> Any:
        """A result as the log has it, converted to the type that the signature names, where that can be done."""
        try:
            return msgspec.convert(told, typing.get_type_hints(self.function).get("return", Any))
        except (msgspec.ValidationError, TypeError):
            return told

    async def run(self, arguments: Mapping[str, Any], owner: object | None) -> object:
        function = self.function.__get__(owner) if owner is not None else self.function
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        context = contextvars.copy_context()
        call = partial(context.run, _run_sync, function, arguments)
        return await asyncio.get_running_loop().run_in_executor(_THREADS, call)


def _run_sync(function: Callable[..., object], arguments: Mapping[str, Any]) -> object:
    try:
        return function(**arguments)
    except StopIteration as error:  # no future can carry it: whoever waits would wait for ever
        raise RuntimeError("the tool raised StopIteration") from error


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: `tool` None when the agent has no tool of that name, `owner` the agent whose method it is."""

    tool_call_id: str
    tool_name: str
    tool: Tool | None
    owner: object | None
    arguments: dict[str, Any]
    timeout: float
    notifier: RunNotifier


class Dispatcher(Protocol):
    async def dispatch(self, call: ToolCall) -> object: ...


class ToolDispatcher:
    """Runs a tool under its time-out; raises ToolError whenever it does not return."""

    async def dispatch(self, call: ToolCall) -> object:
        if call.tool is None:
            raise ToolError("unknown_tool", f"This agent has no tool called {call.tool_name}.")
        arguments = call.tool.check(call.arguments)
        limit = asyncio.timeout(call.timeout)
        try:
            async with limit:
                return await call.tool.run(arguments, call.owner)
        except TimeoutError as error:
            if limit.expired():
                raise ToolError("timed_out", f"{call.tool_name} took longer than {call.timeout:g} s.") from error
            raise


class NotifyingToolDispatcher:
    """Brackets every call with tool_executing and tool_completed, whatever the tool does."""

    def __init__(self, plain: Dispatcher) -> None:
        self.plain = plain

    async def dispatch(self, call: ToolCall) -> object:
        await call.notifier.notify_tool_executing(call.tool_call_id, call.tool_name, call.arguments)
        token = CURRENT_CALL.set(call.tool_call_id)
        try:
            result = await self.plain.dispatch(call)
        except asyncio.CancelledError:
            await self._failed(call, "cancelled", Problem("cancelled", "The call was cancelled."))
            raise
        except AgentError as error:
            failure = _as_tool_error(error)
            status: ToolStatus = "timed_out" if failure.code == "timed_out" else "error"
            await self._failed(call, status, Problem(failure.code, failure.message))
            raise failure from error.__cause__ if failure is error else error
        except Exception as error:
            log.exception("tool failed", tool=call.tool_name, tool_call_id=call.tool_call_id)
            problem = Problem("tool_failed", f"{call.tool_name} failed with an error of its own.")
            await self._failed(call, "error", problem)
            raise ToolError(problem.code, problem.message) from error
        finally:
            CURRENT_CALL.reset(token)
        return await self._succeeded(call, result)

    async def _succeeded(self, call: ToolCall, result: object) -> object:
        try:
            await call.notifier.notify_tool_completed(call.tool_call_id, status="success", result=result)
        except TypeError as error:
            problem = Problem("invalid_result", f"{call.tool_name} returned something that is not JSON.")
            await self._failed(call, "error", problem)
            raise ToolError(problem.code, problem.message) from error
        return result

    async def _failed(self, call: ToolCall, status: ToolStatus, error: Problem) -> None:
        await call.notifier.notify_tool_completed(call.tool_call_id, status=status, error=error)


def _as_tool_error(error: AgentError) -> ToolError:
    """Whatever a tool says to the user in an AgentError, its agent may catch as a ToolError."""
    match error:
        case ToolError():
            return error
        case ChildFailed():
            return ToolError("child_failed", f"{error.agent} failed: {error.message}")
        case _:
            return ToolError(str(error.code), str(error.message))


def enhance_tool_dispatcher_with_notifications(dispatcher: Dispatcher) -> NotifyingToolDispatcher:
    """Wraps a dispatcher so that no call goes untold; one that is wrapped already comes back as it is."""
    return dispatcher if isinstance(dispatcher, NotifyingToolDispatcher) else NotifyingToolDispatcher(dispatcher)


def collect_tools(agent_class: type, functions: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
    """The tools of an agent: its methods marked with `@tool`, and plain functions; raises AgentRefused."""
    methods = [member for _, member in inspect.getmembers(agent_class, inspect.isfunction) if hasattr(member, _MARK)]
    tools: dict[str, Tool] = {}
    for function in [*methods, *functions]:
        if not callable(function) or not hasattr(function, "__name__"):
            raise AgentRefused(f"{function!r} is no tool: give a function with type annotations")
        if function.__name__ in tools:
            raise AgentRefused(f"{agent_class.__name__} has two tools called {function.__name__}")
        tools[function.__name__] = Tool(function)
    return tools


def marks_of(function: Callable[..., Any]) -> _Marks:
    marks: _Marks = getattr(function, _MARK, _Marks())
    return marks


def is_method(tool_: Tool) -> bool:
    return next(iter(inspect.signature(tool_.function).parameters), None) == "self"


def _form_of(function: Callable[..., Any], *, forbid_unknown_fields: bool) -> type[msgspec.Struct]:
    """A struct with a field for each parameter, so that wrong arguments are found and named."""
    hints = typing.get_type_hints(function)
    fields: list[Any] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise AgentRefused(f"tool {function.__name__}: parameter {name} must be one that is given by name")
        type_ = hints.get(name, Any)
        fields.append((name, type_) if parameter.default is parameter.empty else (name, type_, _default(parameter)))
    try:
        form = msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=forbid_unknown_fields)
        msgspec.json.schema(form)
    except TypeError as error:
        raise AgentRefused(f"tool {function.__name__}: its parameters cannot come from JSON: {error}") from error
    return form


def _default(parameter: inspect.Parameter) -> Any:
    value = parameter.default
    if isinstance(value, list | dict | set):
        return msgspec.field(default_factory=lambda: type(value)(value))
    return value
