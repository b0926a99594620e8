"""The analyst's report: an answer to what is asked of a table, then what else its numbers say."""

from __future__ import annotations

from agents.context import AgentExecutionContext
from agents.library import report, statistics
from agents.library.table_tools import COLUMNS_DESCRIBED, LISTED
from agents.library.workbench import Workbench

STEPS = 7
QUESTION_CHARACTERS = 2_000


class Analysis:
    """One run of the analyst, on the table of its workbench."""

    def __init__(self, context: AgentExecutionContext, bench: Workbench) -> None:
        self._context = context
        self._bench = bench

    async def report(self) -> str:
        """In Markdown, streamed section by section. Raises ToolError `no_table`."""
        source = "params" if self._context.request.params.get("table") else "message"
        await self._think("I am looking for the table and reading its columns.", 0)
        await self._context.tools.call("read_table", source=source)
        sections: list[str] = []
        async with self._context.stream() as stream:
            for section in (
                self._answer,
                self._describe,
                self._missing,
                self._correlate,
                self._outliers,
                self._group,
            ):
                text = await section()
                sections.append(text)
                await stream.write(text)
        return "".join(sections)

    async def _think(self, thought: str, done: int) -> None:
        # one more: the platform has told a step of its own before
        await self._context.think(thought, total_steps=STEPS + 1, progress_percentage=5 + done * 90 // STEPS)

    async def _answer(self) -> str:
        question = self._bench.pasted.question[:QUESTION_CHARACTERS]
        if not self._bench.table.height:
            return "## Answer\n\nThe table has a header but **no rows**, so there is nothing to compute.\n"
        if not question.strip():
            return ""
        await self._think("I am working out what you ask, and computing the answer from the rows.", 1)
        await self._context.tools.call("answer_question", question=question)
        return self._bench.answered()

    async def _describe(self) -> str:
        await self._think("I am describing each column: its type, range and most common values.", 2)
        described = await self._context.tools.call("describe_columns", limit=COLUMNS_DESCRIBED)
        table, summaries = self._bench.table, described["columns"]
        return report.overview(table, self._bench.pasted.source, summaries) + report.numbers(table, summaries)

    async def _missing(self) -> str:
        if not self._bench.table.height:
            return ""
        await self._think("I am counting missing values, because they weaken every other figure.", 3)
        return report.missing(await self._context.tools.call("find_missing", limit=COLUMNS_DESCRIBED))

    async def _correlate(self) -> str:
        if len(self._bench.table.measures) < 2 or self._bench.table.height < statistics.FEWEST_PAIRS:
            return ""
        await self._think("I am checking which numbers rise and fall together.", 4)
        return report.correlations(await self._context.tools.call("correlate", method="pearson", limit=LISTED))

    async def _outliers(self) -> str:
        if not self._bench.table.measures or self._bench.table.height < statistics.FEWEST_FOR_OUTLIERS:
            return ""
        await self._think("I am looking for values far away from the rest; they may be errors.", 5)
        found = await self._context.tools.call("find_outliers", method="iqr", limit=LISTED)
        return report.outliers(self._bench.table, found["columns"])

    async def _group(self) -> str:
        if not self._bench.table.measures or not any(column.is_category for column in self._bench.table.columns):
            return ""
        await self._think("I am comparing the numbers between the categories of the table.", 6)
        found = await self._context.tools.call("group_by", limit=statistics.MOST_LEVELS)
        return report.groups(self._bench.table, found["groupings"])
