"""The types of a table's columns, read off their cells, and the table as a polars frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

import polars as pl

from agents.library import dates
from agents.library.cells import Decimal, Number, ambiguous, boolean, is_missing, number
from agents.library.grids import Grid
from agents.library.words import stems

_ENOUGH = 0.8
_EXACT = 10**12
_LARGEST = 1e150  # squares of larger numbers overflow
_IDS = frozenset(
    ("id", "uuid", "guid", "key", "index", "idx", "nr", "no", "number", "code", "zip", "postcode", "phone")
)


class Kind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "yes or no"
    TEXT = "text"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; `key` is its name in the frame, `unit` the sign its numbers carried, `leads` if before them.

    `identifies`: tells rows apart, measures nothing. `times`: dates with hours. `origin`: how it was made.
    """

    key: str
    name: str
    kind: Kind
    unit: str = ""
    leads: bool = False
    identifies: bool = False
    times: bool = False
    origin: str = ""

    @cached_property
    def is_year(self) -> bool:
        return self.kind is Kind.NUMBER and self.name.casefold().split(" ")[-1].split("_")[-1] in (
            "year",
            "yr",
            "jahr",
        )

    @cached_property
    def is_category(self) -> bool:
        return self.kind in (Kind.TEXT, Kind.BOOLEAN)

    @property
    def is_measure(self) -> bool:
        """Whether sums, means and correlations of it say anything."""
        return self.kind is Kind.NUMBER and not self.identifies and not self.is_year


@dataclass(frozen=True, kw_only=True)
class Table:
    """A typed table. The frame's columns are the keys c0, c1 …, and `row`, which counts its rows from 1."""

    frame: pl.DataFrame
    columns: tuple[Column, ...]
    layout: str
    warnings: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return self.frame.height

    def of(self, *kinds: Kind) -> list[Column]:
        return [column for column in self.columns if column.kind in kinds]

    @cached_property
    def measures(self) -> list[Column]:
        return [column for column in self.columns if column.is_measure]

    @cached_property
    def distinct(self) -> dict[str, int]:
        """The number of different values of each column, without the missing."""
        return {column.key: self.frame[column.key].drop_nulls().n_unique() for column in self.columns}

    def named(self, name: str) -> Column:
        """The column with that name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass
class _Typing:
    """What is being found out about one column."""

    name: str
    cells: list[str]
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def present(self) -> list[str]:
        return [cell for cell in self.cells if not is_missing(cell)]

    @cached_property
    def commas_only(self) -> bool:
        """Whether its numbers can only be read with a decimal comma."""
        return _share(self.present, ",") >= _ENOUGH and _share(self.present, ",") > _share(self.present, ".")


def typed(grid: Grid) -> Table:
    """The grid with each column's type decided by its cells; says in warnings what it left out."""
    cells_of = zip(*grid.rows, strict=True) if grid.rows else ([] for _ in grid.names)
    typings = [_Typing(name, list(cells)) for name, cells in zip(grid.names, cells_of, strict=True)]
    points_only = any(_share(one.present, ".") > _share(one.present, ",") for one in typings)
    commas = not grid.exact_numbers and not points_only and any(one.commas_only for one in typings)
    columns, series = [], []
    for place, typing in enumerate(typings):
        column, values = _column(f"c{place}", typing, commas=commas)
        columns.append(column)
        series.append(values)
    rows = pl.Series("row", range(1, len(grid.rows) + 1), dtype=pl.Int64)
    return Table(
        frame=pl.DataFrame([rows, *series]),
        columns=tuple(columns),
        layout=grid.layout,
        warnings=(*grid.warnings, *(warning for typing in typings for warning in typing.warnings)),
    )


def _share(cells: Sequence[str], decimal: Decimal) -> float:
    return sum(number(cell, decimal) is not None for cell in cells) / len(cells) if cells else 0.0


def _column(key: str, typing: _Typing, *, commas: bool) -> tuple[Column, pl.Series]:
    present = typing.present
    if not present:
        return Column(key=key, name=typing.name, kind=Kind.EMPTY), pl.Series(key, [None] * len(typing.cells), pl.String)
    decimal: Decimal = "," if typing.commas_only or (commas and any(map(ambiguous, present))) else "."
    if _share(present, decimal) >= _ENOUGH:
        return _numbers(key, typing, decimal)
    truths = {boolean(cell) for cell in present}
    if None not in truths and (len(truths) == 2 or all(len(cell) > 1 for cell in present)):
        return _truths(key, typing)
    if dated := _dates(key, typing):
        return dated
    values = [None if is_missing(cell) else cell for cell in typing.cells]
    identifies = _identifies(typing.name, unique=len(set(present)) == len(present) > 1)
    return Column(key=key, name=typing.name, kind=Kind.TEXT, identifies=identifies), pl.Series(key, values, pl.String)


def _numbers(key: str, typing: _Typing, decimal: Decimal) -> tuple[Column, pl.Series]:
    read = [None if is_missing(cell) else number(cell, decimal) for cell in typing.cells]
    found = [one for one in read if one is not None]
    _warn_of_numbers(typing, found, decimal)
    values = [None if one is None or abs(one.value) > _LARGEST else one.value for one in read]
    finite = [value for value in values if value is not None]
    whole = all(value.is_integer() and abs(value) < _EXACT for value in finite)
    series = pl.Series(key, values, pl.Float64)
    units = Counter((one.unit, one.leads) for one in found if one.unit)
    unit, leads = units.most_common(1)[0][0] if len({sign for sign, _ in units}) == 1 else ("", False)
    distinct = len(set(finite))
    column = Column(
        key=key,
        name=typing.name,
        kind=Kind.NUMBER,
        unit=unit,
        leads=leads,
        identifies=whole and not unit and _identifies(typing.name, unique=distinct == len(finite) > 1),
    )
    return column, series.cast(pl.Int64) if whole else series


def _identifies(name: str, *, unique: bool) -> bool:
    """Whether a column of this name tells rows apart and measures nothing."""
    parts = stems(name)
    return (bool(parts) and parts[-1] in ("id", "uuid", "guid")) or (
        unique and (name == "#" or not _IDS.isdisjoint(parts))
    )


def _warn_of_numbers(typing: _Typing, found: Sequence[Number], decimal: Decimal) -> None:
    """What reading these cells as numbers left out or took for granted."""
    name, present = typing.name, typing.present
    if len(found) < len(present):
        odd = list(dict.fromkeys(cell for cell in present if number(cell, decimal) is None))[:3]
        shown = ", ".join(f"“{cell[:30]}”" for cell in odd)
        typing.warnings.append(
            f"“{name}”: {len(present) - len(found):,} of {len(present):,} values are no numbers ({shown}); "
            "I counted them as missing."
        )
    if infinite := sum(abs(one.value) > _LARGEST for one in found):
        typing.warnings.append(f"“{name}”: {infinite:,} infinite or far too large; I counted them as missing.")
    signs = {one.unit for one in found}
    if len(signs - {""}) > 1 or ("%" in signs and "" in signs):
        shown = ", ".join(sorted(sign or "no sign" for sign in signs))
        typing.warnings.append(f"“{name}” mixes {shown}; I took the numbers as they stand and converted nothing.")
    if any("," in cell and ambiguous(cell) for cell in present) and not any("." in cell for cell in present):
        example = next(cell for cell in present if "," in cell and ambiguous(cell))
        meaning = "a decimal comma" if decimal == "," else "thousands"
        typing.warnings.append(f"“{name}”: I read the comma in {example} as {meaning}.")


def _truths(key: str, typing: _Typing) -> tuple[Column, pl.Series]:
    words = {cell.casefold() for cell in typing.present}
    kept = words if len(words) <= 2 else None
    values = [
        None if is_missing(cell) else cell.casefold() if kept else "yes" if boolean(cell) else "no"
        for cell in typing.cells
    ]
    return Column(key=key, name=typing.name, kind=Kind.BOOLEAN), pl.Series(key, values, pl.String)


def _dates(key: str, typing: _Typing) -> tuple[Column, pl.Series] | None:
    present = typing.present
    order = dates.day_first(present)
    read = [dates.date(cell, day_first=bool(order)) for cell in present]
    found = sum(one is not None for one in read)
    if found < _ENOUGH * len(present):
        return None
    if found < len(present):
        typing.warnings.append(
            f"“{typing.name}”: {len(present) - found:,} of {len(present):,} values are no dates; "
            "I counted them as missing."
        )
    if order is None and (open_ := next(filter(dates.month_first_or_day_first, present), None)):
        typing.warnings.append(f"“{typing.name}”: {open_} could be read both ways; I put the month first.")
    values: list[datetime | None] = [
        None if is_missing(cell) else dates.date(cell, day_first=bool(order)) for cell in typing.cells
    ]
    times = any(value is not None and dates.has_time(value) for value in values)
    return Column(key=key, name=typing.name, kind=Kind.DATE, times=times), pl.Series(key, values, pl.Datetime("us"))
