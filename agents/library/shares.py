"""Answers that say what part of the whole something is, and what is most common."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from agents.library.answer import MOST_ROWS, Answer, Asked, value_text
from agents.library.columns import Column
from agents.library.condition import fulfilling
from agents.library.grouping import bucketed, grouped_frame, level_text
from agents.library.markdown import escape, figure, rows_of, share, shown
from agents.library.vocabulary import Aggregate


def shares(asked: Asked) -> Answer:
    """Each group's share, or the share of the rows (or of their sum) that fulfil the last condition."""
    if asked.question.groups:
        return _of_groups(asked)
    *given, last = asked.question.conditions
    base = replace(asked, question=replace(asked.question, conditions=tuple(given)))
    whole = fulfilling(asked.table.frame, tuple(given))
    part = fulfilling(whole, (last,))
    if not asked.question.measures:
        return Answer(
            headline=f"**{share(part.height, whole.height)}** of the rows{base.where} have {last}: "
            f"{part.height:,} of {whole.height:,}."
        )
    column = asked.question.measures[0].column
    some, all_ = (float(frame[column.key].cast(pl.Float64).sum()) for frame in (part, whole))
    texts = [value_text(value, Aggregate.SUM, column) for value in (some, all_)]
    return Answer(
        headline=f"**{share(some, all_)}** of the total {escape(column.name)}{base.where} come from {last}: "
        f"{texts[0]} of {texts[1]}."
    )


def _of_groups(asked: Asked) -> Answer:
    group = bucketed(asked.question.groups[0], asked.frame)
    measures = asked.question.measures
    frame = grouped_frame(asked, [group], measures)
    key = "value0" if measures else "rows"
    frame = frame.sort(key, descending=True, maintain_order=True)
    whole = float(frame[key].sum())
    of = f"total {escape(measures[0].column.name)}" if measures else "rows"
    if frame.is_empty() or not whole:
        return Answer(headline=f"There is nothing to take shares of{asked.where}.")
    column = measures[0].column if measures else None
    rows = tuple(
        (level_text(level, group), _text(value, column), share(float(value), whole))
        for level, value in frame.select("level0", key).head(MOST_ROWS).rows()
    )
    by = f"Share of the {of} by {escape(group.column.name)}{asked.where}"
    headline = f"{by}: **{rows[0][0]}** has the most, **{rows[0][2]}**."
    left = (f"The table shows {len(rows)} of {frame.height:,} groups.",) if frame.height > len(rows) else ()
    head = (escape(group.column.name), of, "share")
    return Answer(headline=headline, head=head, rows=rows, right=frozenset((1, 2)), notes=left)


def _text(value: float, column: Column | None) -> str:
    return value_text(value, Aggregate.SUM, column) if column else figure(value)


def common(asked: Asked) -> Answer:
    """The most (or least) common values of a column; ties are said."""
    question, column = asked.question, asked.question.columns[0]
    values = asked.frame[column.key].drop_nulls().alias("value")
    counts = values.value_counts().sort(["count", "value"], descending=[question.highest, False])
    if counts.is_empty():
        return Answer(headline=f"{escape(column.name)} has no values{asked.where}.")
    headline = _several_common(asked, counts) if question.limit > 1 else _most_common(asked, counts, len(values))
    rows = tuple(
        (shown(value, column), f"{count:,}", share(count, len(values)))
        for value, count in counts.head(max(question.limit, 10) if question.limit < MOST_ROWS else MOST_ROWS).rows()
    )
    return Answer(headline=headline, head=(escape(column.name), "rows", "share"), rows=rows, right=frozenset((1, 2)))


def _several_common(asked: Asked, counts: pl.DataFrame) -> str:
    question, column = asked.question, asked.question.columns[0]
    first = counts.head(min(question.limit, 10)).rows()
    names = ", ".join(f"**{shown(value, column)}** ({count:,})" for value, count in first)
    order = "most" if question.highest else "least"
    return f"The {order} common values of {escape(column.name)}{asked.where}: {names}."


def _most_common(asked: Asked, counts: pl.DataFrame, whole: int) -> str:
    column, top = asked.question.columns[0], counts["count"][0]
    ties = counts.filter(pl.col("count") == top)
    what = f"the {'most' if asked.question.highest else 'least'} common"
    if ties.height > 5:
        return (
            f"**No value** of {escape(column.name)} is {what}{asked.where}: "
            f"{ties.height:,} values are there {_times(top)} each."
        )
    names = " and ".join(f"**{shown(value, column)}**" for value in ties["value"])
    verb, each = ("is", "") if ties.height == 1 else ("(tied) are", "each ")
    part = f"{each}{rows_of(top)} of {whole:,} ({share(top, whole)})"
    return f"{names} {verb} {what} {escape(column.name)}{asked.where}: {part}."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
