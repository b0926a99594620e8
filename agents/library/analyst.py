"""The agent `analyst`: answers questions about a pasted table and reports what else its numbers say."""

from __future__ import annotations

from agents.context import AgentExecutionContext
from agents.library import report, statistics
from agents.library.table_tools import COLUMNS_DESCRIBED, LISTED, TableTools
from agents.registry import agent

STEPS = 7
QUESTION_CHARACTERS = 2_000


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
        self.look_into(context.request.message, context.request.params)
        await context.think("I am looking for the table and reading its columns.", **_progress(0))
        await context.tools.call("read_table", source="params" if self._params.get("table") else "message")
        sections: list[str] = []
        async with context.stream() as stream:
            for section in (
                self._answer,
                self._describe,
                self._missing,
                self._correlate,
                self._outliers,
                self._group,
            ):
                text = await section(context)
                sections.append(text)
                await stream.write(text)
        return "".join(sections)

    async def _answer(self, context: AgentExecutionContext) -> str:
        question = self._pasted.question[:QUESTION_CHARACTERS]
        if not self._table.height:
            return "## Answer\n\nThe table has a header but **no rows**, so there is nothing to compute.\n"
        if not question.strip():
            return ""
        await context.think("I am working out what you ask, and computing the answer from the rows.", **_progress(1))
        await context.tools.call("answer_question", question=question)
        return report.answers(self._answers) if self._answers else ""

    async def _describe(self, context: AgentExecutionContext) -> str:
        await context.think("I am describing each column: its type, range and most common values.", **_progress(2))
        described = await context.tools.call("describe_columns", limit=COLUMNS_DESCRIBED)
        summaries = described["columns"]
        return report.overview(self._table, self._pasted.source, summaries) + report.numbers(self._table, summaries)

    async def _missing(self, context: AgentExecutionContext) -> str:
        if not self._table.height:
            return ""
        await context.think("I am counting missing values, because they weaken every other figure.", **_progress(3))
        return report.missing(await context.tools.call("find_missing", limit=COLUMNS_DESCRIBED))

    async def _correlate(self, context: AgentExecutionContext) -> str:
        if len(self._table.measures) < 2 or self._table.height < statistics.FEWEST_PAIRS:
            return ""
        await context.think("I am checking which numbers rise and fall together.", **_progress(4))
        return report.correlations(await context.tools.call("correlate", method="pearson", limit=LISTED))

    async def _outliers(self, context: AgentExecutionContext) -> str:
        if not self._table.measures or self._table.height < statistics.FEWEST_FOR_OUTLIERS:
            return ""
        await context.think("I am looking for values far away from the rest; they may be errors.", **_progress(5))
        found = await context.tools.call("find_outliers", method="iqr", limit=LISTED)
        return report.outliers(self._table, found["columns"])

    async def _group(self, context: AgentExecutionContext) -> str:
        if not self._table.measures or not any(column.is_category for column in self._table.columns):
            return ""
        await context.think("I am comparing the numbers between the categories of the table.", **_progress(6))
        found = await context.tools.call("group_by", limit=statistics.MOST_LEVELS)
        return report.groups(self._table, found["groupings"])


def _progress(done: int) -> dict[str, int]:
    # one more: the platform has told a step of its own before
    return {"total_steps": STEPS + 1, "progress_percentage": 5 + done * 90 // STEPS}
