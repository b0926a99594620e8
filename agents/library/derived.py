"""Columns that a question asks for and that the table only implies: revenue is price times quantity."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from agents.library.columns import Column, Kind, Table
from agents.library.words import stems

_REVENUE = ("revenue", "turnover")
_PRICE = ("price",)
_QUANTITY = ("quantity", "qty", "unit")


def with_revenue(table: Table, question: str) -> Table:
    """The table, with price times quantity as a column if the question asks for revenue and there is none."""
    asked = [word for word in _REVENUE if word in stems(question)]
    price, quantity = _one(table, _PRICE), _one(table, _QUANTITY, but=_PRICE)
    known = any({*_REVENUE, "amount"} & set(stems(column.name)) for column in table.columns)
    if not asked or known or price is None or quantity is None:
        return table
    column = Column(
        key="revenue",
        name=asked[0],
        kind=Kind.NUMBER,
        unit=price.unit if price.unit != "%" else "",
        leads=price.leads,
        origin=f"{price.name} × {quantity.name}, row by row",
    )
    product = (pl.col(price.key) * pl.col(quantity.key)).cast(pl.Float64).alias(column.key)
    return replace(table, frame=table.frame.with_columns(product), columns=(*table.columns, column))


def _one(table: Table, names: tuple[str, ...], but: tuple[str, ...] = ()) -> Column | None:
    """The only number whose name has one of these words and none of those."""
    found = [
        column
        for column in table.of(Kind.NUMBER)
        if not set(names).isdisjoint(stems(column.name)) and set(but).isdisjoint(stems(column.name))
    ]
    return found[0] if len(found) == 1 else None
