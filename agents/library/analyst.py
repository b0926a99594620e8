"""The agent `analyst`: answers questions about a pasted table and reports what else its numbers say."""

from __future__ import annotations

from agents.adapters.loading import load_beside
from agents.context import AgentExecutionContext
from agents.library.table_tools import TableTools
from agents.registry import agent


@agent(
    "analyst",
    description="Answers questions about a table you paste (CSV, Markdown, JSON …) and reports its figures.",
    streaming=True,
    restartable=True,
)
class Analyst(TableTools):
    """Reads the table of one request, answers what is asked of it, then says what else it shows."""

    async def execute(self, context: AgentExecutionContext) -> str:
        """The report in Markdown, streamed section by section. Raises ToolError `no_table`."""
        await load_beside("agents.library.analysis", name="polars", install="polars")
        from agents.library.analysis import Analysis  # noqa: PLC0415 - polars is a fifth of a process's start

        self.look_into(context.request.message, context.request.params)
        return await Analysis(context, self.bench).report()
