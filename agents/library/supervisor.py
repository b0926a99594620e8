"""The agent `supervisor`: finds out who can help, has them work at once, and joins what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.context import AgentExecutionContext, AnswerStream
from agents.errors import AgentError, ChildFailed, ToolError
from agents.library.tables import find
from agents.registry import agent
from agents.team import Child
from agents.tools import tool

MOST_MEMBERS: Final = 8
ANALYST: Final = "analyst"
ASSISTANT: Final = "assistant"
NOBODY: Final = (
    "There is no table in your message for the analyst, and no assistant here. Paste a table, or name agents in"
    " params.agents."
)


@agent(
    "supervisor",
    description="Has the analyst and the assistant (or those in params.agents) work at once, and joins their answers.",
    streaming=True,
    restartable=True,
)
class Supervisor:
    """Its members are child runs. One that fails is told of at the end; the others answer all the same."""

    def __init__(self) -> None:
        self._context: AgentExecutionContext
        self._written: list[str] = []

    async def execute(self, context: AgentExecutionContext) -> str:
        """The joint answer in Markdown, streamed member by member. Raises AgentError when nobody has one."""
        self._context = context
        await context.think("I am finding out who can help with this.")
        names = await context.tools.call("triage")
        await context.think(f"I am asking {_list(names)}.")
        params = {key: value for key, value in context.request.params.items() if key != "agents"}
        members = [Child(name, context.request.message, params) for name in names]
        async with context.stream() as stream:
            failures = await self._join(members, stream)
        if len(failures) == len(members):
            raise AgentError("nobody_could_help", " ".join(map(_told, failures)))
        return "".join(self._written)

    @tool(local=True)
    def triage(self) -> list[str]:
        """Chooses the agents that can help with the message."""
        request, there = self._context.request, self._context.agents
        named = request.params.get("agents")
        if named is not None:
            return _checked(named, there)
        wanted = [ANALYST, ASSISTANT] if _has_table(request.message, request.params) else [ASSISTANT]
        if chosen := [name for name in wanted if name in there]:
            return chosen
        raise ToolError("nobody_can_help", NOBODY)

    async def _join(self, members: Sequence[Child], stream: AnswerStream) -> list[ChildFailed]:
        """Writes the answers in the order of the members, each as soon as those before it are written."""
        failures: list[ChildFailed] = []
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(self._ask(member)) for member in members]
            for member, task in zip(members, answers, strict=True):
                answer = await task
                if isinstance(answer, ChildFailed):
                    failures.append(answer)
                else:
                    await self._write(stream, _section(member.agent, answer, is_alone=len(members) == 1))
        if self._written and failures:
            await self._write(stream, "## Not answered\n\n" + "".join(f"- {_told(failure)}\n" for failure in failures))
        return failures

    async def _ask(self, member: Child) -> Any:
        try:
            return await self._context.run_agent(member.agent, member.message, params=member.params)
        except ChildFailed as failure:
            return failure

    async def _write(self, stream: AnswerStream, text: str) -> None:
        self._written.append(text)
        await stream.write(text)


def _checked(named: object, there: Sequence[str]) -> list[str]:
    if not isinstance(named, list) or not 1 <= len(named) <= MOST_MEMBERS:
        raise ToolError("bad_agents", f"params.agents must be a list of 1 to {MOST_MEMBERS} names of agents.")
    unknown = [str(name)[:64] for name in named if name not in there]
    if unknown:
        raise ToolError("bad_agents", f"params.agents names {_list(unknown)}; agents here are {_list(there)}.")
    return named


def _has_table(message: str, params: Mapping[str, object]) -> bool:
    try:
        find(message, params)
    except AgentError:
        return False
    return True


def _section(name: str, answer: Any, *, is_alone: bool) -> str:
    text = answer if isinstance(answer, str) else f"```json\n{json.dumps(answer, indent=2, ensure_ascii=False)}\n```"
    return text if is_alone else f"# {name}\n\n{text.strip()}\n\n"


def _told(failure: ChildFailed) -> str:
    return f"{failure.agent} failed: {failure.message}"


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
