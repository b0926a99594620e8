"""What an answer is made of, and what its forms have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from agents.library.columns import Column, Kind, Table
from agents.library.condition import fulfilling
from agents.library.markdown import escape, figure, shown
from agents.library.questions import Question
from agents.library.vocabulary import Aggregate

MOST_ROWS = 20
MOST_COLUMNS = 6

_REDUCE: dict[Aggregate, Callable[[pl.Expr], pl.Expr]] = {
    Aggregate.SUM: lambda cell: cell.sum(),
    Aggregate.MEAN: lambda cell: cell.mean(),
    Aggregate.MEDIAN: lambda cell: cell.median(),
    Aggregate.LOWEST: lambda cell: cell.min(),
    Aggregate.HIGHEST: lambda cell: cell.max(),
    Aggregate.DEVIATION: lambda cell: cell.std(),
    Aggregate.VARIANCE: lambda cell: cell.var(),
    Aggregate.DISTINCT: lambda cell: cell.drop_nulls().n_unique(),
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A sentence of Markdown and a table of cells already escaped; `right` are its columns of numbers."""

    headline: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    right: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with the rows that fulfil its conditions."""

    question: Question
    table: Table
    frame: pl.DataFrame

    @property
    def where(self) -> str:
        """The conditions in words, with a blank before them; empty if there are none."""
        return f" where {' and '.join(map(str, self.question.conditions))}" if self.question.conditions else ""


def asked(question: Question, table: Table) -> Asked:
    return Asked(question=question, table=table, frame=fulfilling(table.frame, question.conditions))


def reduced(aggregate: Aggregate, column: Column) -> pl.Expr:
    """The column's values as one; numbers are added up as floats, so that no sum overflows."""
    cell = pl.col(column.key)
    if column.kind is Kind.NUMBER and aggregate is Aggregate.SUM:
        cell = cell.cast(pl.Float64)
    return _REDUCE[aggregate](cell)


def aggregated(frame: pl.DataFrame, aggregate: Aggregate, column: Column) -> object:
    """One value of the column's; None where there is nothing to compute it of."""
    if column.kind is not Kind.NUMBER and aggregate not in _FOR_ANY:
        return None
    if frame[column.key].drop_nulls().is_empty() and aggregate is not Aggregate.DISTINCT:
        return None
    return frame.select(reduced(aggregate, column)).item()


_FOR_ANY = frozenset((Aggregate.LOWEST, Aggregate.HIGHEST, Aggregate.DISTINCT))


def value_text(value: object, aggregate: Aggregate, column: Column) -> str:
    if value is None:
        return "–"
    if aggregate in (Aggregate.DISTINCT, Aggregate.VARIANCE) and isinstance(value, int | float):
        return figure(value)
    return shown(value, column)


def called(aggregate: Aggregate, column: Column) -> str:
    """The aggregate of a column as people say it: total sales."""
    return f"{aggregate.value} {escape(column.name)}"


def columns_shown(table: Table, first: Sequence[Column]) -> list[Column]:
    """Up to six columns for a table of rows, those that matter first."""
    return list(dict.fromkeys((*first, *table.columns)))[:MOST_COLUMNS]


def row_table(
    table: Table, frame: pl.DataFrame, first: Sequence[Column], *, limit: int = MOST_ROWS
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and body of a table of whole rows with their numbers."""
    columns = columns_shown(table, first)
    keys = ["row", *(column.key for column in columns)]
    body = tuple(
        (str(row), *(shown(value, column) for value, column in zip(values, columns, strict=True)))
        for row, *values in frame.select(keys).head(limit).rows()
    )
    return ("row", *(escape(column.name) for column in columns)), body


def numbers_at(columns: Sequence[Column], offset: int) -> frozenset[int]:
    return frozenset(place for place, column in enumerate(columns, offset) if column.kind is Kind.NUMBER)
