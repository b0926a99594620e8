import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from agents.bridge import ToolStatus
from agents.errors import AgentError, AgentRefused, ChildFailed, ToolError
from agents.events import Problem
from agents.tools import (
    NotifyingToolDispatcher,
    Tool,
    ToolCall,
    ToolDispatcher,
    collect_tools,
    enhance_tool_dispatcher_with_notifications,
    is_method,
    tool,
)
from tests.runs import Workshop

SECONDS = 10.0


@dataclass
class Told:
    """A notifier that keeps what it is told, of tools only; refuses results that are not JSON, as the real one."""

    def __post_init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    async def notify_tool_executing(self, tool_call_id: str, tool_name: str, arguments: Any) -> None:
        await asyncio.sleep(0)
        self.events.append(("executing", tool_call_id, tool_name, dict(arguments)))

    async def notify_tool_completed(
        self, tool_call_id: str, *, status: ToolStatus, result: object = None, error: Problem | None = None
    ) -> None:
        if isinstance(result, complex):
            raise TypeError("complex is not JSON")
        await asyncio.sleep(0)
        self.events.append(("completed", tool_call_id, status, result if error is None else error))


def call_of(told: Any, function: Any, *, timeout: float = SECONDS, id_: str = "tool_1", **arguments: Any) -> ToolCall:
    return ToolCall(
        tool_call_id=id_,
        tool_name=function.__name__ if function is not None else "missing",
        tool=Tool(function) if function is not None else None,
        owner=None,
        arguments=arguments,
        timeout=timeout,
        notifier=told,
    )


async def dispatch(told: Told, function: Any, **options: Any) -> object:
    dispatcher = enhance_tool_dispatcher_with_notifications(ToolDispatcher())
    return await dispatcher.dispatch(call_of(told, function, **options))


async def count(text: str, times: int = 1) -> int:
    """Counts the words of a text.

    And more.
    """
    return len(text.split()) * times


async def test_a_call_is_told_from_beginning_to_end():
    told = Told()

    assert await dispatch(told, count, text="a b", times=2) == 4

    assert told.events == [
        ("executing", "tool_1", "count", {"text": "a b", "times": 2}),
        ("completed", "tool_1", "success", 4),
    ]


async def test_a_tool_that_fails_with_a_message_tells_it():
    async def breaks() -> None:
        raise ToolError("out_of_paper", "Please put paper in.")

    told = Told()
    with pytest.raises(ToolError, match="Please put paper in"):
        await dispatch(told, breaks)

    assert told.events[1:] == [("completed", "tool_1", "error", Problem("out_of_paper", "Please put paper in."))]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AgentError("no_paper", "Please put paper in."), "no_paper", "Please put paper in."),
        (ChildFailed("printer", "jammed", "It is jammed."), "child_failed", "printer failed: It is jammed."),
        (AgentError(None, None), "None", "None"),  # type: ignore[arg-type]
    ],
)
async def test_what_a_tool_says_to_the_user_is_told_and_may_be_caught_as_any_tool_error(error, code, message):
    async def breaks() -> None:
        raise error

    told = Told()
    with pytest.raises(ToolError) as raised:
        await dispatch(told, breaks)

    assert (raised.value.code, raised.value.message, raised.value.__cause__) == (code, message, error)
    assert told.events[1:] == [("completed", "tool_1", "error", Problem(code, message))]


@pytest.mark.parametrize("error", [ValueError("secret detail"), KeyError("k"), TimeoutError("inner"), OSError()])
async def test_a_tool_that_raises_tells_no_detail(error):
    async def breaks() -> None:
        raise error

    told = Told()
    with pytest.raises(ToolError) as raised:
        await dispatch(told, breaks)

    assert raised.value.code == "tool_failed"
    assert told.events[1][2:] == ("error", Problem("tool_failed", "breaks failed with an error of its own."))


async def test_a_tool_that_takes_too_long_is_stopped_and_says_so():
    stopped: list[str] = []

    async def dawdles() -> None:
        try:
            await asyncio.sleep(SECONDS)
        finally:
            stopped.append("yes")

    told = Told()
    with pytest.raises(ToolError, match=r"longer than 0\.05 s") as raised:
        await dispatch(told, dawdles, timeout=0.05)

    assert (raised.value.code, stopped) == ("timed_out", ["yes"])
    assert [event[2] for event in told.events] == ["dawdles", "timed_out"]


async def test_a_sync_tool_that_takes_too_long_is_left_behind():
    gate = threading.Event()

    def dawdles() -> None:
        gate.wait(SECONDS)

    told = Told()
    try:
        with pytest.raises(ToolError, match="longer"):
            await dispatch(told, dawdles, timeout=0.05)
    finally:
        gate.set()

    assert told.events[1][2] == "timed_out"


async def test_a_call_that_is_cancelled_is_told_and_stays_cancelled():
    async def dawdles() -> None:
        await asyncio.sleep(SECONDS)

    told = Told()
    calling = asyncio.create_task(dispatch(told, dawdles))
    await asyncio.sleep(0.02)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling

    assert told.events[1][1:3] == ("tool_1", "cancelled")


async def test_parallel_calls_are_paired_each_with_its_own_end():
    async def work(number: int) -> int:
        await asyncio.sleep(0.01 * (5 - number % 5))
        if number % 3 == 0:
            raise ToolError("third", "A third.")
        return number

    told = Told()
    await asyncio.gather(
        *(dispatch(told, work, id_=f"tool_{number}", number=number) for number in range(12)), return_exceptions=True
    )

    begun = [event[1] for event in told.events if event[0] == "executing"]
    ended = {event[1]: event[2:] for event in told.events if event[0] == "completed"}
    assert len(told.events) == 24
    assert set(begun) == set(ended)
    for number in range(12):
        expected = ("error", Problem("third", "A third.")) if number % 3 == 0 else ("success", number)
        assert ended[f"tool_{number}"] == expected


async def test_an_unknown_tool_is_told_as_a_call_that_failed():
    told = Told()
    with pytest.raises(ToolError, match="no tool called missing") as raised:
        await dispatch(told, None)

    assert raised.value.code == "unknown_tool"
    assert [event[0] for event in told.events] == ["executing", "completed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "text"),
        ({"text": 1}, r"\$.text"),
        ({"text": "a", "times": "2"}, r"\$.times"),
        ({"text": "a", "tiems": 2}, "tiems"),
        ({"text": None}, r"\$.text"),
    ],
)
async def test_wrong_arguments_are_named_and_the_tool_is_not_called(arguments, said):
    called: list[str] = []

    async def count(text: str, times: int = 1) -> None:
        called.append(text)

    told = Told()
    with pytest.raises(ToolError, match=said) as raised:
        await dispatch(told, count, **arguments)

    assert (raised.value.code, called) == ("invalid_arguments", [])
    assert [event[0] for event in told.events] == ["executing", "completed"]


async def test_a_result_that_is_not_json_is_an_error_of_the_tool():
    def odd() -> complex:
        return 1j

    told = Told()
    with pytest.raises(ToolError) as raised:
        await dispatch(told, odd)

    assert raised.value.code == "invalid_result"
    assert [event[0] for event in told.events] == ["executing", "completed"]
    assert told.events[1][2] == "error"


async def test_a_sync_tool_runs_off_the_event_loop():
    gate = threading.Event()

    def block() -> str:
        assert gate.wait(SECONDS)
        return threading.current_thread().name

    calling = asyncio.create_task(dispatch(Told(), block))
    await asyncio.sleep(0.02)
    gate.set()  # the loop is free to say so

    assert str(await calling).startswith("netra-tool")


async def test_a_sync_tool_that_raises_stop_iteration_fails_and_does_not_hang():
    def first_of_nothing() -> object:
        return next(iter([]))

    told = Told()
    with pytest.raises(ToolError) as raised:
        await dispatch(told, first_of_nothing, timeout=1.0)

    assert raised.value.code == "tool_failed"


async def test_a_method_is_a_tool_with_its_agent():
    class Agent:
        name = "ada"

        @tool
        def greet(self, greeting: str) -> str:
            return f"{greeting}, {self.name}"

    (greet,) = collect_tools(Agent, []).values()

    assert is_method(greet)
    assert await greet.run({"greeting": "Hello"}, Agent()) == "Hello, ada"


def test_a_tool_knows_its_name_and_the_first_line_of_its_docstring():
    made = Tool(count)

    assert (made.name, made.description) == ("count", "Counts the words of a text.")


def test_a_tool_converts_its_arguments_and_fills_in_defaults():
    @dataclass
    class Point:
        x: int

    def draw(point: Point, tags: list[str] = [], scale: float = 1.0) -> None:  # noqa: B006
        tags.append("seen")

    made = Tool(draw)
    first = made.check({"point": {"x": 1}})
    first["tags"].append("mine")

    assert first["point"].x == 1
    assert made.check({"point": {"x": 1}}) == {"point": first["point"], "tags": [], "scale": 1.0}


def test_a_tool_that_takes_anything_gets_anything():
    def anything(text: str = "", **rest: Any) -> None: ...

    assert Tool(anything).check({"a": 1, "text": "b"}) == {"a": 1, "text": "b"}


def positional(a: int, /) -> None: ...
def several(*a: int) -> None: ...
def a_socket(a: threading.Thread) -> None: ...


@pytest.mark.parametrize("function", [positional, several, a_socket])
def test_a_function_whose_arguments_cannot_come_by_name_from_json_is_refused(function):
    with pytest.raises(AgentRefused, match=f"tool {function.__name__}"):
        Tool(function)


@pytest.mark.parametrize("given", [1, "count", None])
def test_what_is_no_function_is_no_tool(given):
    with pytest.raises(AgentRefused, match="is no tool"):
        collect_tools(object, [given])


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(AgentRefused, match="two tools called count"):
        collect_tools(object, [count, count])


def test_enhancing_twice_is_enhancing_once():
    once = enhance_tool_dispatcher_with_notifications(ToolDispatcher())

    assert isinstance(once, NotifyingToolDispatcher)
    assert enhance_tool_dispatcher_with_notifications(once) is once
    assert isinstance(once.plain, ToolDispatcher)


# ─ with the real notifier, in a real run


def pairs(log: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Each call's events by id, after a look at the order."""
    calls: dict[str, list[str]] = {}
    for frame in log:
        if frame["type"].startswith("tool_"):
            calls.setdefault(frame["data"]["tool_call_id"], []).append(frame["type"])
    assert all(events == ["tool_executing", "tool_completed"] for events in calls.values()), calls
    assert log[-1]["type"] == "agent_completed"
    return calls


@pytest.mark.django_db(transaction=True)
async def test_secrets_in_arguments_and_results_are_redacted_in_the_log_but_not_for_the_tool(workshop: Workshop):
    seen: list[object] = []

    def log_in(user: str, options: dict[str, Any]) -> Any:
        seen.append(options)
        return [{"accessToken": "needle", "max_tokens": 5, "user": user}]

    async def execute(context):
        return (await context.tools.call("log_in", user="ada", options={"deep": [{"password": "needle"}]}))[0]["user"]

    log = await workshop.run(execute, tools=[log_in])

    assert seen == [{"deep": [{"password": "needle"}]}]
    assert "needle" not in repr(log)
    tool_frames = [frame["data"] for frame in log if frame["type"].startswith("tool_")]
    assert tool_frames[0]["arguments"] == {"user": "ada", "options": {"deep": [{"password": "[redacted]"}]}}
    assert tool_frames[1]["result"] == [{"accessToken": "[redacted]", "max_tokens": 5, "user": "ada"}]


@pytest.mark.django_db(transaction=True)
async def test_large_results_are_cut_in_the_log_but_not_for_the_agent(workshop: Workshop):
    async def rows() -> list[str]:
        return ["é" * 100] * 5_000

    async def execute(context):
        return len(await context.tools.call("rows"))

    log = await workshop.run(execute, tools=[rows])

    (done,) = [frame["data"] for frame in log if frame["type"] == "tool_completed"]
    assert log[-1]["data"]["result"]["output"] == 5_000
    assert done["result"]["cut"] is True


@pytest.mark.django_db(transaction=True)
async def test_when_one_of_many_parallel_calls_fails_all_are_paired(workshop: Workshop):
    async def work(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        if number == 2:
            raise ValueError("needle")
        return number

    async def execute(context):
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(context.tools.call("work", number=number))

    log = await workshop.run(execute, tools=[work])

    statuses = [frame["data"]["status"] for frame in log if frame["type"] == "tool_completed"]
    assert len(pairs(log)) == 8
    assert statuses.count("error") == 1
    assert statuses.count("cancelled") >= 1
    assert log[-1]["data"]["status"] == "failed"
    assert "needle" not in repr(log)


@pytest.mark.django_db(transaction=True)
async def test_an_agent_may_catch_a_failed_tool_and_go_on(workshop: Workshop):
    async def breaks() -> None:
        raise ToolError("broken", "It broke.")

    async def execute(context):
        for name in ("breaks", "missing"):
            with pytest.raises(ToolError):
                await context.tools.call(name)
        return "done"

    log = await workshop.run(execute, tools=[breaks])

    assert len(pairs(log)) == 2
    assert log[-1]["data"]["result"]["output"] == "done"
