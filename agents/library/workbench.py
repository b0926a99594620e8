"""What works on the table of one run. The first such run loads it: polars would be a fifth of each process's start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from agents.library import report, statistics
from agents.library.answer import Answer
from agents.library.answers import answer
from agents.library.columns import Table, typed
from agents.library.derived import with_revenue
from agents.library.questions import Question
from agents.library.statistics import Finding
from agents.library.tables import Pasted, find
from agents.library.understanding import understand


class Workbench:
    """The table in a message, or in its params, and what has been asked of it."""

    def __init__(self, message: str, params: Mapping[str, object]) -> None:
        self._message = message
        self._params = params
        self._answers: list[tuple[str, Answer]] = []

    @cached_property
    def pasted(self) -> Pasted:
        """Raises ToolError `no_table`."""
        return find(self._message, self._params)

    @cached_property
    def table(self) -> Table:
        return typed(self.pasted.grid)

    def read(self, *, with_params: bool) -> Table:
        """The table, read anew. Raises ToolError `no_table`."""
        self.pasted = find(self._message, self._params if with_params else {})
        self.table = typed(self.pasted.grid)
        return self.table

    def answer(self, question: str) -> list[tuple[Question, Answer]]:
        """What it reads in the question, each with its answer."""
        table = with_revenue(self.table, question)
        answers = [(one, answer(one, table)) for one in understand(question, table)]
        self._answers = [(one.text, found) for one, found in answers]
        return answers

    def answered(self) -> str:
        """The latest answers as Markdown; an empty text where there are none."""
        return report.answers(self._answers) if self._answers else ""

    def summaries(self, limit: int) -> list[Finding]:
        return statistics.summaries(self.table, limit)

    def missing(self, limit: int) -> Finding:
        return statistics.missing(self.table, limit)

    def correlations(self, limit: int) -> Finding:
        return statistics.correlations(self.table, limit)

    def outliers(self, limit: int) -> list[Finding]:
        return statistics.outliers(self.table, limit)

    def groups(self, limit: int) -> list[Finding]:
        return statistics.groups(self.table, limit)
