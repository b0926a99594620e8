"""The agent `assistant`: a chat with a language model that has tools, on the endpoint that the settings name.

Without one it is the local model, which is small: its tool calls are chosen by a grammar, and what the tool says is
the answer as it stands.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from agents.adapters.pydantic_ai import load
from agents.context import AgentExecutionContext
from agents.errors import ToolError
from agents.history import Turn, last_of
from agents.library.calculator import calculate
from agents.library.clock import current_time, days_between
from agents.library.readings import Reading, readings
from agents.library.table_tools import TableTools
from agents.library.tables import find
from agents.library.units import convert_units
from agents.llm.endpoint import Endpoint, endpoint_for
from agents.registry import agent
from agents.tools import tool

FOUND: Final = 5
EXCERPT: Final = 300
QUESTION_CHARACTERS: Final = 2_000
SEARCHED_CHARACTERS: Final = 1_000_000


@agent(
    "assistant",
    description="Chats, and calculates, converts units, tells dates, reads tables and searches the thread.",
    tools=[calculate, convert_units, current_time, days_between],
    streaming=True,
)
class Assistant(TableTools):
    def __init__(self) -> None:
        self._turns: list[Turn] = []

    async def execute(self, context: AgentExecutionContext) -> str:
        """The answer, streamed. Raises AgentError `no_model`, `busy` or one of `model_…` (docs/models.md)."""
        self._turns = await context.history(SEARCHED_CHARACTERS)
        message = context.request.message
        question = await asyncio.to_thread(self._look_for_a_table, message, context.request.params)
        async with endpoint_for(context) as endpoint:
            calls = readings(message, question=question) if endpoint.tools == "JSON" else []
            return await (self._call(context, endpoint, calls) if calls else self._converse(context, endpoint))

    async def _converse(self, context: AgentExecutionContext, endpoint: Endpoint) -> str:
        await load("agents.library.conversation")
        from agents.library.conversation import converse  # noqa: PLC0415 - see load

        return await converse(context, endpoint, last_of(self._turns, endpoint.history))

    async def _call(self, context: AgentExecutionContext, endpoint: Endpoint, calls: list[Reading]) -> str:
        await load("agents.library.conversation")
        from agents.library.conversation import choose  # noqa: PLC0415 - see load

        chosen = await choose(context, endpoint, calls)
        try:
            result = await context.tools.call(chosen.tool, **chosen.arguments)
        except ToolError as error:
            result = error.message
        text = (self.bench.answered() if chosen.tool == "answer_question" else "") or str(result)
        async with context.stream() as stream:
            await stream.write(text)
        return text

    def _look_for_a_table(self, message: str, params: dict[str, object]) -> str:
        """Points the tools at the latest table of the thread; returns what this message asks of one of its own."""
        for text, given in [(message, params), *((turn.message, {}) for turn in reversed(self._turns))]:
            try:
                pasted = find(text, given)
            except ToolError:
                continue
            self.look_into(text, given)
            return pasted.question[:QUESTION_CHARACTERS] if text == message else ""
        self.look_into("", {})
        return ""

    @tool
    def search_thread(self, words: str) -> str:
        """Finds earlier messages and answers of this thread that have these words."""
        wanted = {word for word in re.findall(r"\w+", words.lower()) if len(word) > 2 or word.isdigit()}
        texts = [
            (f"{turn.at:%-d %B %Y, %H:%M}, {who}", text)
            for turn in self._turns
            for who, text in (("you wrote", turn.message), ("I answered", turn.answer))
        ]
        hits = [(sum(word in text.lower() for word in wanted), when, text) for when, text in texts if text.strip()]
        best = sorted((hit for hit in hits if hit[0] or not wanted), key=lambda hit: -hit[0])[:FOUND]
        lines = [f"- {when}: {' '.join(text.split())[:EXCERPT]}" for _, when, text in best]
        return "\n".join(lines) or "Nothing in this thread has these words."
