"""A condition on the rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_

import polars as pl

from agents.library import dates
from agents.library.columns import Column, Kind
from agents.library.markdown import escape, shown

Value = str | float | datetime

COMPARISONS: dict[str, Callable[[pl.Expr, Value], pl.Expr]] = {
    ">": lambda cell, value: cell > value,
    ">=": lambda cell, value: cell >= value,
    "<": lambda cell, value: cell < value,
    "<=": lambda cell, value: cell <= value,
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a row must fulfil; `sign`: = (one of the values), != (none), > and so on, month (of any year)."""

    column: Column
    sign: str
    values: tuple[Value, ...]

    def expression(self) -> pl.Expr:
        cell = pl.col(self.column.key)
        if self.sign == "month":
            return cell.dt.month().is_in([int(float(str(value))) for value in self.values])
        if self.sign in COMPARISONS:
            return COMPARISONS[self.sign](cell, self.values[0])
        if self.column.kind is Kind.NUMBER:
            cell = cell.cast(pl.Float64)
        inside = cell.is_in(list(self.values))
        return ~inside if self.sign == "!=" else inside

    def __str__(self) -> str:
        if self.sign == "month":
            name = dates.MONTHS[int(float(str(self.values[0]))) - 1].capitalize()
            return f"{escape(self.column.name)} in {name}"
        values = " or ".join(shown(value, self.column) for value in self.values)
        return f"{escape(self.column.name)} {'≠' if self.sign == '!=' else self.sign} {values}"


class Unclear(Exception):
    """A sentence puts a condition that can't be told to be about any column; says which."""


def fulfilling(frame: pl.DataFrame, wanted: tuple[Condition, ...]) -> pl.DataFrame:
    """The rows that fulfil all conditions; a missing value fulfils none."""
    if not wanted:
        return frame
    return frame.filter(reduce(and_, (one.expression() for one in wanted)))
