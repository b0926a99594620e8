"""The agent `analyst`: answers questions about a pasted table and reports what else its numbers say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from agents.context import AgentExecutionContext
from agents.library import report, statistics
from agents.library.answer import Answer
from agents.library.answers import answer
from agents.library.columns import Table, typed
from agents.library.derived import with_revenue
from agents.library.statistics import Finding
from agents.library.tables import Pasted, find
from agents.library.understanding import understand
from agents.registry import agent
from agents.tools import tool

STEPS = 7
COLUMNS_DESCRIBED = 60
LISTED = 10
QUESTION_CHARACTERS = 2_000


@agent(
    "analyst",
    description="Answers questions about a table you paste (CSV, Markdown, JSON …) and reports its figures.",
    streaming=True,
    restartable=True,
)
class Analyst:
    """Reads the table of one request, answers what is asked of it, then says what else it shows."""

    def __init__(self) -> None:
        self._message = ""
        self._params: Mapping[str, object] = {}
        self._pasted: Pasted
        self._table: Table
        self._answers: list[tuple[str, Answer]] = []

    async def execute(self, context: AgentExecutionContext) -> str:
        """The report in Markdown, streamed section by section. Raises ToolError `no_table`."""
        self._message, self._params = context.request.message, context.request.params
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

    @tool
    def read_table(self, source: Literal["message", "params"]) -> dict[str, object]:
        """Finds the table in the message or its params and decides each column's type."""
        self._pasted = find(self._message, self._params if source == "params" else {})
        self._table = typed(self._pasted.grid)
        columns = self._table.columns
        return {
            "layout": self._table.layout,
            "rows": self._table.height,
            "columns": len(columns),
            "types": {column.name[:80]: column.kind.value for column in columns[:COLUMNS_DESCRIBED]},
            "warnings": [warning[:300] for warning in self._table.warnings[:LISTED]],
        }

    @tool
    def answer_question(self, question: str) -> dict[str, object]:
        """Reads the question's words against the columns and values, and computes the answer."""
        table = with_revenue(self._table, question)
        understood = understand(question, table)
        self._answers = [(one.text, answer(one, table)) for one in understood]
        return {
            "answers": [
                {"question": one.text[:300], "asks_for": one.wish.value, "answer": found.headline[:2_000]}
                for one, (_, found) in zip(understood, self._answers, strict=True)
            ]
        }

    @tool
    def describe_columns(self, limit: int) -> dict[str, list[Finding]]:
        """Summarises columns: quartiles of numbers, range of dates, most common texts."""
        return {"columns": statistics.summaries(self._table, limit)}

    @tool
    def find_missing(self, limit: int) -> Finding:
        """Counts missing values by column, and complete rows."""
        return statistics.missing(self._table, limit)

    @tool
    def correlate(self, method: Literal["pearson"], limit: int) -> Finding:
        """Computes the correlations of all pairs of number columns."""
        return {"method": method, **statistics.correlations(self._table, limit)}

    @tool
    def find_outliers(self, method: Literal["iqr"], limit: int) -> dict[str, object]:
        """Finds values beyond 1.5 interquartile ranges from the quartiles."""
        return {"method": method, "columns": statistics.outliers(self._table, limit)}

    @tool
    def group_by(self, limit: int) -> dict[str, list[Finding]]:
        """Compares numbers between the categories that explain most of them."""
        return {"groupings": statistics.groups(self._table, limit)}


def _progress(done: int) -> dict[str, int]:
    # one more: the platform has told a step of its own before
    return {"total_steps": STEPS + 1, "progress_percentage": 5 + done * 90 // STEPS}
