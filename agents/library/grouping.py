"""Answers that compare groups of rows."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from agents.library.answer import (
    MOST_ROWS,
    Answer,
    Asked,
    called,
    reduced,
    value_text,
)
from agents.library.columns import Kind
from agents.library.markdown import escape, figure, rows_of, shown
from agents.library.questions import Group, Measure
from agents.library.vocabulary import Aggregate

_BUCKET_FORMAT = {"1y": "%Y", "1mo": "%Y-%m", "1q": "%Y-%m", "1w": "%Y-%m-%d", "1d": "%Y-%m-%d"}
_MANY_DATES = 31
MOST_LISTED = 100


def bucketed(group: Group, frame: pl.DataFrame) -> Group:
    """The group with dates cut to days, or to months or years when there are many."""
    if group.column.kind is not Kind.DATE or group.bucket:
        return group
    values = frame[group.column.key].drop_nulls()
    days = values.dt.truncate("1d").n_unique() if len(values) else 0
    if days <= _MANY_DATES:
        return Group(column=group.column, bucket="1d")
    months = values.dt.truncate("1mo").n_unique()
    return Group(column=group.column, bucket="1mo" if months <= 5 * 12 else "1y")


def level(group: Group, name: str) -> pl.Expr:
    cell = pl.col(group.column.key)
    return (cell.dt.truncate(group.bucket) if group.bucket else cell).alias(name)


def level_text(value: object, group: Group) -> str:
    """A group's name: a month as 2024-05, a quarter as 2024-Q2; a missing one is called so."""
    if value is None:
        return "(missing)"
    if group.bucket and isinstance(value, datetime):
        if group.bucket == "1q":
            return f"{value.year}-Q{(value.month + 2) // 3}"
        return value.strftime(_BUCKET_FORMAT[group.bucket])
    return shown(value, group.column)


def grouped_frame(asked: Asked, groups: list[Group], measures: tuple[Measure, ...]) -> pl.DataFrame:
    """One row a group: level0 …, rows, value0, count0 …; groups without a first value are left out."""
    columns = [
        expression
        for place, measure in enumerate(measures)
        for expression in (
            reduced(measure.aggregate or Aggregate.MEAN, measure.column).alias(f"value{place}"),
            pl.col(measure.column.key).count().alias(f"count{place}"),
        )
    ]
    levels = [level(group, f"level{place}") for place, group in enumerate(groups)]
    frame = asked.frame.group_by(levels, maintain_order=True).agg(pl.len().alias("rows"), *columns)
    return frame.filter(pl.col("count0") > 0) if measures else frame


def grouped(asked: Asked) -> Answer:
    """The measures of each group, the highest first, or in the order of time."""
    question = asked.question
    groups = [bucketed(group, asked.frame) for group in question.groups]
    frame = grouped_frame(asked, groups, question.measures)
    key = "value0" if question.measures else "rows"
    timed = any(group.bucket or group.column.is_year for group in groups)
    frame = frame.sort("level0") if timed else frame.sort(key, descending=True, nulls_last=True, maintain_order=True)
    what = (
        " and ".join(called(one.aggregate or Aggregate.MEAN, one.column) for one in question.measures)
        or "number of rows"
    )
    by = " and ".join(escape(group.column.name) for group in groups)
    best = frame.sort(key, descending=True, nulls_last=True, maintain_order=True).head(1)
    headline = f"There are no rows to compute {what} by {by} of{asked.where}."
    if best.height:
        names = " / ".join(level_text(best[f"level{place}"][0], group) for place, group in enumerate(groups))
        value = measured(best, 0, question.measures)
        headline = f"{what[0].upper()}{what[1:]} by {by}{asked.where}: highest for **{names}** with **{value}**."
    return group_table(headline, frame, groups, question.measures, limit=MOST_ROWS)


def measured(frame: pl.DataFrame, row: int, measures: tuple[Measure, ...], place: int = 0) -> str:
    if not measures:
        return rows_of(frame["rows"][row])
    measure = measures[place]
    return value_text(frame[f"value{place}"][row], measure.aggregate or Aggregate.MEAN, measure.column)


def group_table(
    headline: str,
    frame: pl.DataFrame,
    groups: list[Group],
    measures: tuple[Measure, ...],
    *,
    limit: int,
    notes: tuple[str, ...] = (),
) -> Answer:
    shown_rows = frame.head(limit)
    body = tuple(
        (
            *(level_text(shown_rows[f"level{place}"][row], group) for place, group in enumerate(groups)),
            *(measured(shown_rows, row, measures, place) for place in range(len(measures))),
            figure(shown_rows["rows"][row]),
        )
        for row in range(shown_rows.height)
    )
    if frame.height > limit:
        notes = (*notes, f"The table shows {limit} of {frame.height:,} groups.")
    head = (
        *(escape(group.column.name) for group in groups),
        *(called(one.aggregate or Aggregate.MEAN, one.column) for one in measures),
        "rows",
    )
    right = frozenset(range(len(groups), len(head)))
    return Answer(headline=headline, head=head, rows=body, right=right, notes=notes)
