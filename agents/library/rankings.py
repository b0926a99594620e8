"""Answers that say which groups or rows are highest or lowest."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from agents.library.answer import MOST_ROWS, Answer, Asked, called, row_table
from agents.library.columns import Column, Kind
from agents.library.grouping import (
    MOST_LISTED,
    bucketed,
    group_table,
    grouped_frame,
    level,
    level_text,
    measured,
)
from agents.library.markdown import escape, rows_of, shown
from agents.library.questions import Group, Measure, Question
from agents.library.vocabulary import Aggregate


def ranked_groups(asked: Asked) -> Answer:
    """Which groups are highest or lowest, by their rows if there is no measure; ties are said."""
    question = asked.question
    groups = [bucketed(group, asked.frame) for group in question.groups[:1]]
    key = "value0" if question.measures else "rows"
    named = grouped_frame(asked, groups, question.measures).filter(
        pl.col("level0").is_not_null(), pl.col(key).is_not_null()
    )
    frame = named.sort(key, "level0", descending=[question.highest, False])
    values = frame[key].unique(maintain_order=True)
    if len(values) < question.rank:
        return Answer(headline=f"There are not enough groups with different values{asked.where}.")
    what = _ranked_what(question)
    if question.limit > 1:
        headline = _several(asked, frame, groups[0], what)
    else:
        headline = _one(asked, frame.filter(pl.col(key) == values[question.rank - 1]), groups[0], what)
    limit = question.limit if question.limit > 1 else MOST_ROWS
    answer = group_table(headline, frame, groups, question.measures, limit=min(limit, MOST_LISTED))
    return replace(answer, notes=(*answer.notes, *_means(asked, groups)))


def _ranked_what(question: Question) -> str:
    if not question.measures:
        return "number of rows"
    measure = question.measures[0]
    if measure.aggregate in (Aggregate.HIGHEST, Aggregate.LOWEST):
        return f"single {escape(measure.column.name)}"
    return called(measure.aggregate or Aggregate.SUM, measure.column)


def _several(asked: Asked, frame: pl.DataFrame, group: Group, what: str) -> str:
    question, count = asked.question, min(asked.question.limit, frame.height)
    names = ", ".join(
        f"**{level_text(frame['level0'][row], group)}** ({measured(frame, row, question.measures)})"
        for row in range(min(count, 10))
    )
    order = order_word(highest=question.highest, rank=1)
    return f"The {count} {escape(group.column.name)} values with the {order} {what}{asked.where}: {names}."


def _one(asked: Asked, ties: pl.DataFrame, group: Group, what: str) -> str:
    question = asked.question
    names = " and ".join(f"**{level_text(value, group)}**" for value in ties["level0"].head(5))
    verb = "has" if ties.height == 1 else f"({ties.height} groups, tied) have"
    order = order_word(highest=question.highest, rank=question.rank)
    return f"{names} {verb} the {order} {what}{asked.where}: **{measured(ties, 0, question.measures)}**."


def order_word(*, highest: bool, rank: int) -> str:
    """highest, second highest, 4th lowest."""
    order = "highest" if highest else "lowest"
    return order if rank == 1 else f"{ {2: 'second', 3: 'third'}.get(rank, f'{rank}th') } {order}"


def _means(asked: Asked, groups: list[Group]) -> tuple[str, ...]:
    """A note on the averages, where single values were compared and groups have several."""
    measures = asked.question.measures
    extreme = measures and measures[0].aggregate in (Aggregate.HIGHEST, Aggregate.LOWEST)
    if not extreme or measures[0].column.kind is not Kind.NUMBER:
        return ()
    mean = (Measure(column=measures[0].column, aggregate=Aggregate.MEAN),)
    frame = grouped_frame(asked, groups, mean).filter(pl.col("level0").is_not_null())
    best = frame.sort("value0", "level0", descending=[asked.question.highest, False]).head(1)
    order = order_word(highest=asked.question.highest, rank=1)
    name = escape(measures[0].column.name)
    leader = level_text(best["level0"][0], groups[0])
    return (f"By average {name}, {leader} is {order}: {measured(best, 0, mean)}.",)


def ranked_rows(asked: Asked) -> Answer:
    """The rows with the highest or lowest values; ties with the one asked for are shown too."""
    question, column = asked.question, asked.question.measures[0].column
    frame = asked.frame.filter(pl.col(column.key).is_not_null())
    frame = frame.sort(column.key, "row", descending=[question.highest, False])
    values = frame[column.key].unique(maintain_order=True)
    if len(values) < question.rank:
        return Answer(headline=f"There is no such {escape(column.name)}{asked.where}.")
    labels = [one for one in dict.fromkeys((*question.columns, *_labels(asked, column))) if one != column]
    order = order_word(highest=question.highest, rank=question.rank)
    if column.kind is Kind.DATE:
        order = order.replace("highest", "latest").replace("lowest", "earliest")
    if question.limit > 1:
        chosen = frame.head(min(question.limit, MOST_LISTED))
        listed = ", ".join(shown(value, column) for value in chosen[column.key].head(10))
        headline = f"The {chosen.height} rows with the {order} {escape(column.name)}{asked.where}: **{listed}**."
    else:
        value = values[question.rank - 1]
        chosen = frame.filter(pl.col(column.key) == value)
        name = escape(column.name)
        headline = f"The {order} {name}{asked.where} is **{shown(value, column)}**{_of(chosen, labels)}."
    head, body = row_table(asked.table, chosen, [*labels[:1], column, *labels[1:]], limit=MOST_LISTED)
    return Answer(headline=headline, head=head, rows=body)


def _of(chosen: pl.DataFrame, labels: list[Column]) -> str:
    """Whose value it is, when a row or a few have it."""
    if chosen.height > 3:
        return f", in {rows_of(chosen.height)}"
    rows = " and ".join(f"row {row}" for row in chosen["row"])
    if not labels or chosen[labels[0].key].null_count():
        return f", in {rows}"
    names = " and ".join(f"**{shown(value, labels[0])}**" for value in chosen[labels[0].key])
    return f", {escape(labels[0].name)} {names} ({rows})"


def _labels(asked: Asked, measure: Column) -> list[Column]:
    """The columns that tell rows apart best: texts with many different values."""
    texts = [one for one in asked.table.of(Kind.TEXT) if one.key != measure.key]
    return sorted(texts, key=lambda one: -asked.table.distinct[one.key])[:2]


def ranked_within(asked: Asked) -> Answer:
    """The first rows in each group."""
    question, column = asked.question, asked.question.measures[0].column
    group = bucketed(question.groups[0], asked.frame)
    frame = asked.frame.with_columns(level(group, "level")).filter(pl.col(column.key).is_not_null())
    frame = frame.sort("level", column.key, "row", descending=[False, question.highest, False])
    chosen = frame.group_by("level", maintain_order=True).head(question.limit)
    order = order_word(highest=question.highest, rank=1)
    name, by = escape(column.name), escape(group.column.name)
    head, body = row_table(asked.table, chosen, [group.column, column], limit=MOST_LISTED)
    return Answer(headline=f"The {question.limit} {order} {name} in each {by}{asked.where}:", head=head, rows=body)
