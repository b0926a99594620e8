"""The tools that read a pasted table and say what its figures are: methods that share the table of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from agents.tools import tool

if TYPE_CHECKING:
    from agents.library.workbench import Workbench

COLUMNS_DESCRIBED: Final = 60
LISTED: Final = 10


class TableTools:
    """What an agent that works on a table inherits. It has to `look_into` what may hold one before it calls a tool."""

    bench: Workbench

    def look_into(self, message: str, params: Mapping[str, object]) -> None:
        """Loads what works on tables, where no run has done so: not to be waited for by the event loop."""
        from agents.library.workbench import Workbench  # noqa: PLC0415 - see there

        self.bench = Workbench(message, params)

    @tool(local=True)
    def read_table(self, source: Literal["message", "params"]) -> dict[str, object]:
        """Finds the table in the message or its params and decides each column's type."""
        table = self.bench.read(with_params=source == "params")
        return {
            "layout": table.layout,
            "rows": table.height,
            "columns": len(table.columns),
            "types": {column.name[:80]: column.kind.value for column in table.columns[:COLUMNS_DESCRIBED]},
            "warnings": [warning[:300] for warning in table.warnings[:LISTED]],
        }

    @tool(local=True)
    def answer_question(self, question: str) -> dict[str, object]:
        """Reads the question's words against the columns and values, and computes the answer."""
        return {
            "answers": [
                {"question": one.text[:300], "asks_for": one.wish.value, "answer": found.headline[:2_000]}
                for one, found in self.bench.answer(question)
            ]
        }

    @tool(local=True)
    def describe_columns(self, limit: int) -> dict[str, list[dict[str, object]]]:
        """Summarises columns: quartiles of numbers, range of dates, most common texts."""
        return {"columns": self.bench.summaries(limit)}

    @tool(local=True)
    def find_missing(self, limit: int) -> dict[str, object]:
        """Counts missing values by column, and complete rows."""
        return self.bench.missing(limit)

    @tool(local=True)
    def correlate(self, method: Literal["pearson"], limit: int) -> dict[str, object]:
        """Computes the correlations of all pairs of number columns."""
        return {"method": method, **self.bench.correlations(limit)}

    @tool(local=True)
    def find_outliers(self, method: Literal["iqr"], limit: int) -> dict[str, object]:
        """Finds values beyond 1.5 interquartile ranges from the quartiles."""
        return {"method": method, "columns": self.bench.outliers(limit)}

    @tool(local=True)
    def group_by(self, limit: int) -> dict[str, list[dict[str, object]]]:
        """Compares numbers between the categories that explain most of them."""
        return {"groupings": self.bench.groups(limit)}
