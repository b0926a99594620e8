"""What an agent has in hand while it works: its request, its tools, and ways to say what it does.

Agents have no handle on lifecycle events: those follow from the run's phases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from agents.asking import Approved, Asking
from agents.bridge import RunNotifier
from agents.database import patiently
from agents.errors import ToolError
from agents.events import Usage
from agents.history import Turn, last_of, read_turns
from agents.ids import Prefix, new_id
from agents.ledger import Ledger, replay, was_cut_off
from agents.model_answers import ModelAnswers
from agents.runs import Run, RunRequest
from agents.team import Child, Team
from agents.tools import CURRENT_CALL, Dispatcher, Tool, ToolCall, is_method

COALESCE_SECONDS: Final = 0.03
"""Text written within this time goes out as one partial_result."""
COALESCE_CHARACTERS: Final = 4_000
MAX_WARNINGS: Final = 50
HISTORY_CHARACTERS: Final = 8_000


class RunTools:
    """The agent's tools, `offered` by name; a `call` is told to the user from beginning to end."""

    def __init__(
        self, context: AgentExecutionContext, tools: Mapping[str, Tool], dispatcher: Dispatcher, ledger: Ledger
    ) -> None:
        self._context = context
        self.offered = tools
        self._dispatcher = dispatcher
        self._ledger = ledger

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Calls a tool and returns its result. Raises ToolError when it fails or takes too long.

        What an earlier attempt at this run has done is not done again: its result is returned, its error raised. For a
        call that was cut off ToolUnknown is raised, unless the tool is repeatable.
        """
        return await self.dispatch(name, self.offered.get(name), arguments)

    async def dispatch(self, name: str, tool: Tool | None, arguments: dict[str, Any]) -> Any:
        """As `call`, for a tool that need not be one of the agent's own; adapters bring those of other frameworks."""
        await self._context.flush()
        if tool is not None and tool.needs_approval and tool.fits(arguments):
            arguments = await self._approved(tool, arguments)
        if tool is not None and not tool.is_local:
            earlier = self._ledger.take(name, arguments)
            if earlier is not None and not (tool.is_repeatable and was_cut_off(earlier)):
                return replay(earlier, tool)
        return await self._dispatcher.dispatch(
            ToolCall(
                tool_call_id=new_id(Prefix.TOOL_CALL),
                tool_name=name,
                tool=tool,
                owner=self._context.agent if tool is not None and is_method(tool) else None,
                arguments=arguments,
                timeout=self._context.tool_timeout,
                notifier=self._context.notifier,
            )
        )

    async def _approved(self, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        reason = f"May I call {tool.name}? {tool.description}".strip()
        answer = await self._context.ask_approval(reason, tool_name=tool.name, arguments=arguments)
        if not answer.is_approved:
            said = f": {answer.comment}" if answer.comment else "."
            raise ToolError(answer.decision, f"The call of {tool.name} was not approved ({answer.decision}){said}")
        return answer.arguments


class AnswerStream:
    """Text of the answer on its way to the user. Used as `async with context.stream() as stream`."""

    def __init__(self, context: AgentExecutionContext) -> None:
        self._context = context
        self._message_id = new_id(Prefix.MESSAGE)
        self._buffer: list[str] = []
        self._characters = 0
        self._filled = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    async def write(self, text: str) -> None:
        """Sends text on; several short texts in a row may go as one event."""
        if not isinstance(text, str):
            raise TypeError(f"a stream takes str, not {type(text).__name__}")
        if self._flusher is not None and self._flusher.done():
            self._flusher.result()
        if not text:
            return
        self._buffer.append(text)
        self._characters += len(text)
        self._filled.set()
        if self._characters >= COALESCE_CHARACTERS:
            await self.flush()

    async def flush(self, *, is_complete: bool = False) -> None:
        async with self._sending:
            text = "".join(self._buffer)
            self._buffer.clear()
            self._characters = 0
            if text or is_complete:
                self._context.produced.append(text)
                await self._context.notifier.notify_partial_result(self._message_id, text, is_complete=is_complete)

    async def __aenter__(self) -> Self:
        self._flusher = self._context.begin_task(self._flush_in_time())
        self._context.streams.append(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._sending:  # not while it has text in its hands
            self._context.end_task(self._flusher)
        self._context.streams.remove(self)
        await self.flush(is_complete=error is None)

    async def _flush_in_time(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            await self.flush()
            await asyncio.sleep(COALESCE_SECONDS)


class AgentExecutionContext:
    """One run, as its agent sees it. `timeout` is in seconds."""

    def __init__(
        self,
        *,
        run: Run,
        agent: object,
        tools: Mapping[str, Tool],
        dispatcher: Dispatcher,
        notifier: RunNotifier,
        tool_timeout: float,
        team: Team,
        asking: Asking,
        ledger: Ledger,
        model_answers: ModelAnswers,
    ) -> None:
        self.run_id = run.run_id
        self.thread_id = run.thread_id
        self.user_id = run.user_id
        self.attempt = run.attempt
        self.timeout = run.timeout
        self.request: RunRequest = run.request
        self.agent = agent
        self.notifier = notifier
        self.tool_timeout = tool_timeout
        self.cancelled = False
        """Whether the run has been told to stop. Its coroutine is cancelled then; threads of its own may look here."""
        self._run = run
        self._team = team
        self._asking = asking
        self.model_answers = model_answers
        """For adapters of model frameworks; see agents.model_answers."""
        self.tools = RunTools(self, tools, dispatcher, ledger)
        self.warnings: list[str] = []
        self.usage: Usage | None = None
        self.produced: list[str] = []
        self.streams: list[AnswerStream] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def think(
        self, reasoning: str, *, total_steps: int | None = None, progress_percentage: float | None = None
    ) -> None:
        """Tells the user what the agent is about to do, in a sentence."""
        await self.flush()
        await self.notifier.notify_agent_thinking(
            reasoning, total_steps=total_steps, progress_percentage=progress_percentage
        )

    def stream(self) -> AnswerStream:
        """A stream for the text of the answer; what is written is shown as it comes."""
        return AnswerStream(self)

    @property
    def agents(self) -> list[str]:
        """The names of the agents that there are for `run_agent`."""
        return self._team.agents

    async def progress(self, message: str, *, percentage: float | None = None) -> None:
        """Tells how far the agent has come, or in a tool, how far that call has."""
        tool_call_id = CURRENT_CALL.get()
        if tool_call_id is None:
            await self.think(message, progress_percentage=percentage)
        else:
            await self.notifier.notify_tool_progress(tool_call_id, message, progress_percentage=percentage)

    async def history(self, characters: int = HISTORY_CHARACTERS) -> list[Turn]:
        """What this user and agents said in the thread before: the latest turns that fit, oldest first, none cut."""
        return last_of(await patiently(read_turns, self._run), characters)

    async def run_agent(
        self, agent: str, message: str, *, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Any:
        """Has another agent do something, as a child of this run, and returns its output.

        `timeout` in seconds. Raises ChildFailed when the child does not complete. Cancelling the call cancels it.
        """
        await self.flush()
        return await self._team.run(Child(agent, message, dict(params or {}), timeout))

    async def run_parallel(self, children: Sequence[Child], *, go_on: bool = False) -> list[Any]:
        """Has all of them done at once, and returns their outputs in the order asked for.

        The first that fails cancels the others and raises ChildFailed. With `go_on` the others go on, and where an
        output is missing the list has the ChildFailed.
        """
        await self.flush()
        return await self._team.run_parallel(children, go_on=go_on)

    async def ask_approval(
        self,
        reason: str,
        *,
        tool_name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Approved:
        """Asks the user whether to go on, and waits for the answer, however long a run may otherwise take.

        Without an answer after `timeout` seconds, or the most that the tier allows, the decision is "expired". The user
        may change the arguments.
        """
        await self.flush()
        return await self._asking.ask(self.notifier, reason, tool_name=tool_name, arguments=arguments, timeout=timeout)

    def warn(self, text: str) -> None:
        """Adds a line to the completion's warnings."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(str(text))

    async def flush(self) -> None:
        """Sends what streams hold, so that events keep the order in which the agent caused them."""
        for stream in self.streams:
            await stream.flush()

    def begin_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task that ends with this run at the latest."""
        task = asyncio.create_task(work, name=f"{self.run_id} stream")
        self._tasks.add(task)
        return task

    def end_task(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            task.cancel()
            self._tasks.discard(task)

    def close(self) -> None:
        """Ends whatever an agent that was stopped in the middle has left open."""
        for task in list(self._tasks):
            self.end_task(task)
