"""The tools that read a pasted table and say what its figures are: methods that share the table of one run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final, Literal

from agents.library import statistics
from agents.library.answer import Answer
from agents.library.answers import answer
from agents.library.columns import Table, typed
from agents.library.derived import with_revenue
from agents.library.statistics import Finding
from agents.library.tables import Pasted, find
from agents.library.understanding import understand
from agents.tools import tool

COLUMNS_DESCRIBED: Final = 60
LISTED: Final = 10


class TableTools:
    """What an agent that works on a table inherits; `look_into` says where the table is."""

    def __init__(self) -> None:
        self._message = ""
        self._params: Mapping[str, object] = {}
        self._answers: list[tuple[str, Answer]] = []

    def look_into(self, message: str, params: Mapping[str, object]) -> None:
        self._message, self._params = message, params

    @cached_property
    def _pasted(self) -> Pasted:
        return find(self._message, self._params)

    @cached_property
    def _table(self) -> Table:
        return typed(self._pasted.grid)

    @tool(local=True)
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

    @tool(local=True)
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

    @tool(local=True)
    def describe_columns(self, limit: int) -> dict[str, list[Finding]]:
        """Summarises columns: quartiles of numbers, range of dates, most common texts."""
        return {"columns": statistics.summaries(self._table, limit)}

    @tool(local=True)
    def find_missing(self, limit: int) -> Finding:
        """Counts missing values by column, and complete rows."""
        return statistics.missing(self._table, limit)

    @tool(local=True)
    def correlate(self, method: Literal["pearson"], limit: int) -> Finding:
        """Computes the correlations of all pairs of number columns."""
        return {"method": method, **statistics.correlations(self._table, limit)}

    @tool(local=True)
    def find_outliers(self, method: Literal["iqr"], limit: int) -> dict[str, object]:
        """Finds values beyond 1.5 interquartile ranges from the quartiles."""
        return {"method": method, "columns": statistics.outliers(self._table, limit)}

    @tool(local=True)
    def group_by(self, limit: int) -> dict[str, list[Finding]]:
        """Compares numbers between the categories that explain most of them."""
        return {"groupings": statistics.groups(self._table, limit)}
