"""Questions about a table, as far as they were understood."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agents.library.columns import Column
from agents.library.condition import Condition
from agents.library.vocabulary import ADDITIVE, Aggregate
from agents.library.words import stems

_RATES = frozenset("per rate ratio percent pct average avg mean median price index score".split())


class Wish(StrEnum):
    """The form of answer that a question wants."""

    AGGREGATE = "aggregate"
    COUNT = "count rows"
    MISSING = "count missing values"
    COMMON = "most common values"
    CORRELATION = "correlation"
    TREND = "trend"
    RANKING = "ranking"
    SHARE = "share"
    ROWS = "matching rows"
    VALUES = "different values"
    COLUMNS = "columns"
    OVERVIEW = "overview"
    NOTHING = "not understood"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column and how its values become one; `aggregate` None where the question leaves it open."""

    column: Column
    aggregate: Aggregate | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """A column to group by; a date is cut to `bucket`, a polars duration such as 1mo."""

    column: Column
    bucket: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a sentence asks.

    `rank` 2 is the second highest; `within` ranks inside each group; `negated` for MISSING asks for the rows
    that lack nothing; `strangers` are names that the table doesn't know.
    """

    text: str
    wish: Wish
    measures: tuple[Measure, ...] = ()
    groups: tuple[Group, ...] = ()
    conditions: tuple[Condition, ...] = ()
    columns: tuple[Column, ...] = ()
    highest: bool = True
    limit: int = 1
    rank: int = 1
    within: bool = False
    negated: bool = False
    strangers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_additive(column: Column) -> bool:
    """Whether the sum of the column's values means something, going by its name and sign."""
    names = set(stems(column.name))
    return column.unit != "%" and names.isdisjoint(_RATES) and not names.isdisjoint(ADDITIVE)
