"""Answers to questions about a table: computed, said in a sentence, with the rows behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from agents.library import statistics
from agents.library.answer import Answer, Asked, aggregated, asked, called, row_table, value_text
from agents.library.columns import Column, Kind, Table
from agents.library.grouping import grouped
from agents.library.markdown import escape, figure, rows_of, share, shown
from agents.library.questions import Question, Wish, is_additive
from agents.library.rankings import ranked_groups, ranked_rows, ranked_within
from agents.library.shares import common, shares
from agents.library.trends import trend
from agents.library.vocabulary import Aggregate

_MOST_NAMED = 20
_SUMMARY = (Aggregate.MEAN, Aggregate.MEDIAN, Aggregate.LOWEST, Aggregate.HIGHEST)


def answer(question: Question, table: Table) -> Answer:
    """The answer to a question that was understood."""
    given = asked(question, table)
    found = _FORMS[question.wish](given)
    if question.conditions and given.frame.is_empty() and question.wish not in (Wish.COUNT, Wish.SHARE):
        found = Answer(headline=f"**No rows**{given.where}.")
    origins = {one.column.name: one.column.origin for one in question.measures if one.column.origin}
    made = tuple(f"I computed {escape(name)} as {escape(origin, 120)}." for name, origin in origins.items())
    if question.strangers:
        said = " and ".join(f"“{escape(word)}”" for word in question.strangers[:5])
        found = replace(found, headline=f"The table knows no {said}; leaving that aside: {found.headline}")
    return replace(found, notes=(*made, *found.notes, *(escape(note, 300) for note in question.notes)))


def _aggregate(given: Asked) -> Answer:
    if given.question.groups:
        return grouped(given)
    sentences: list[str] = []
    for measure in given.question.measures:
        column, frame = measure.column, given.frame
        values = frame[column.key].drop_nulls()
        if measure.aggregate is None:
            sentences.append(_summarised(given, column))
            continue
        value = value_text(aggregated(frame, measure.aggregate, column), measure.aggregate, column)
        what = called(measure.aggregate, column)
        sentences.append(f"{what[0].upper()}{what[1:]}{given.where}: **{value}** ({_basis(frame, values)}).")
    return Answer(headline="  \n".join(sentences))


def _basis(frame: pl.DataFrame, values: pl.Series) -> str:
    lacking = frame.height - len(values)
    return f"{rows_of(len(values))}" + (f"; {lacking:,} without a value left out" if lacking else "")


def _summarised(given: Asked, column: Column) -> str:
    values = given.frame[column.key].drop_nulls()
    aggregates = (*((Aggregate.SUM,) if is_additive(column) else ()), *_SUMMARY)
    parts = (f"{one.value} **{value_text(aggregated(given.frame, one, column), one, column)}**" for one in aggregates)
    return f"{escape(column.name)}{given.where}: {', '.join(parts)} ({_basis(given.frame, values)})."


def _count(given: Asked) -> Answer:
    if given.question.groups:
        return grouped(given)
    count, whole = given.frame.height, given.table.height
    if not given.question.conditions:
        return Answer(headline=f"The table has **{rows_of(whole)}**.")
    return Answer(headline=f"**{count:,}** of {rows_of(whole)} ({share(count, whole)}){given.where}.")


def _missing(given: Asked) -> Answer:
    question, columns = given.question, given.question.columns or given.table.columns
    if not question.columns and not question.negated:
        return _missing_cells(given)
    lacking = pl.any_horizontal(pl.col(column.key).is_null() for column in columns)
    chosen = given.frame.filter(~lacking if question.negated else lacking)
    names = " or ".join(escape(column.name) for column in columns) if question.columns else "values in some column"
    what = f"lack no {names}" if question.negated else f"have no {names}"
    if not question.columns:
        what = "are complete"
    head, body = row_table(given.table, chosen, columns[:1])
    whole = given.frame.height
    sentence = f"**{chosen.height:,}** of {rows_of(whole)}{given.where} ({share(chosen.height, whole)}) {what}."
    if question.negated or chosen.is_empty():
        return Answer(headline=sentence)
    left = (f"The table shows the first {len(body)}.",) if chosen.height > len(body) else ()
    return Answer(headline=sentence, head=head, rows=body, notes=left)


def _missing_cells(given: Asked) -> Answer:
    counts = [(column, given.frame[column.key].null_count()) for column in given.table.columns]
    lacking = sorted((pair for pair in counts if pair[1]), key=lambda pair: -pair[1])
    rows = tuple((escape(column.name), f"{count:,}", share(count, given.frame.height)) for column, count in lacking)
    total = sum(count for _, count in lacking)
    if not total:
        return Answer(headline=f"**No values are missing**{given.where}.")
    columns = f"{len(lacking):,} column{'' if len(lacking) == 1 else 's'}"
    most = f"most in **{rows[0][0]}** ({rows[0][1]})"
    headline = f"**{total:,}** values are missing{given.where}, in {columns}; {most}."
    return Answer(
        headline=headline,
        head=("column", "missing", "share"),
        rows=rows[:_MOST_NAMED],
        right=frozenset((1, 2)),
    )


def _correlation(given: Asked) -> Answer:
    table = replace(given.table, frame=given.frame)
    columns = given.question.columns
    others = columns[1:] or tuple(one for one in table.measures if columns and one != columns[0])
    if not columns:
        strongest = statistics.correlations(table, 1)["strongest"]
        pairs = (
            [(table.named(one["a"]), table.named(one["b"])) for one in strongest] if isinstance(strongest, list) else []
        )
        if not pairs:
            return Answer(headline=f"No two columns are correlated beyond chance{given.where}.")
        columns, others = pairs[0], pairs[0][1:]
    found = [(other, statistics.correlation(table, columns[0], other)) for other in others]
    known = sorted(((other, *one) for other, one in found if one), key=lambda item: -abs(item[1]))
    if not known:
        reason = f"fewer than {statistics.FEWEST_PAIRS} rows have both values, or one of the columns is constant"
        return Answer(headline=f"There is no correlation to compute{given.where}: {reason}.")
    other, r, pairs_ = known[0]
    one = escape(columns[0].name)
    headline = (
        f"Pearson's correlation of {one} and {escape(other.name)}{given.where} is **r = {r:.3f}** "
        f"(n = {pairs_:,}): {strength(r, pairs_)}."
    )
    rows = tuple((escape(column.name), f"{value:.3f}", f"{count:,}") for column, value, count in known[:_MOST_NAMED])
    return Answer(
        headline=headline,
        head=(f"with {one}", "r", "n"),
        rows=rows if len(rows) > 1 else (),
        right=frozenset((1, 2)),
    )


def strength(r: float, pairs: int) -> str:
    """A correlation in words (Cohen's bounds), and whether chance could explain it."""
    size = abs(r)
    word = "strong" if size >= 0.5 else "moderate" if size >= 0.3 else "weak" if size >= 0.1 else "next to none"
    sign = "" if size < 0.1 else ", positive" if r > 0 else ", negative"
    return f"{word}{sign}" + ("" if statistics.is_significant(r, pairs) else "; chance could explain it")


def _ranking(given: Asked) -> Answer:
    if given.question.within:
        return ranked_within(given)
    return ranked_groups(given) if given.question.groups else ranked_rows(given)


def _rows(given: Asked) -> Answer:
    """The rows that fulfil the conditions, or what they say of the measures."""
    measures, frame = given.question.measures, given.frame
    if measures and frame.height == 1:
        sentences = (
            f"{escape(column.name)}{given.where}: **{shown(frame[column.key][0], column) or 'missing'}**."
            for column in (one.column for one in measures)
        )
        return Answer(headline="  \n".join(sentences))
    head, body = row_table(given.table, frame, [*given.question.columns, *(one.column for one in measures)])
    left = (f"The table shows the first {len(body)} rows.",) if frame.height > len(body) else ()
    if measures:
        headline = "  \n".join(_summarised(given, one.column) for one in measures)
    else:
        headline = f"**{rows_of(frame.height)}** of {given.table.height:,}{given.where}."
        headline += _values_text(frame, given.question.columns[0]) if given.question.columns else ""
    return Answer(headline=headline, head=head, rows=body, notes=left)


def _values_text(frame: pl.DataFrame, column: Column) -> str:
    values = frame[column.key].drop_nulls().unique(maintain_order=True)
    listed = ", ".join(f"**{shown(value, column)}**" for value in values.head(_MOST_NAMED))
    more = f" and {len(values) - _MOST_NAMED:,} more" if len(values) > _MOST_NAMED else ""
    return f" {escape(column.name)}: {listed}{more}."


def _values(given: Asked) -> Answer:
    column = given.question.columns[0]
    count = given.frame[column.key].drop_nulls().n_unique()
    return Answer(headline=f"**{count:,}** different values of{_values_text(given.frame, column)}")


def _column_names(given: Asked) -> Answer:
    columns = given.table.columns
    names = ", ".join(f"**{escape(column.name)}** ({column.kind.value})" for column in columns[:_MOST_NAMED])
    more = f" and {len(columns) - _MOST_NAMED:,} more" if len(columns) > _MOST_NAMED else ""
    return Answer(headline=f"The table has **{len(columns):,}** columns: {names}{more}.")


def _not_understood(given: Asked) -> Answer:
    names = ", ".join(escape(column.name) for column in given.table.columns[:_MOST_NAMED])
    return Answer(
        headline=f"I did not understand “{escape(given.question.text, 120)}” as a question about the columns "
        f"{names}. I answer such as: total or average of a column, by another; which is highest; top 5; "
        "how many rows where; missing values; correlation; trend. Below is an overview instead."
    )


def _overview(given: Asked) -> Answer:
    kinds = {kind: len(given.table.of(kind)) for kind in Kind}
    parts = ", ".join(f"{count:,} of {kind.value}" for kind, count in kinds.items() if count)
    return Answer(
        headline=f"The table has **{rows_of(given.table.height)}** and "
        f"**{figure(len(given.table.columns))}** columns: {parts}."
    )


_FORMS: dict[Wish, Callable[[Asked], Answer]] = {
    Wish.AGGREGATE: _aggregate,
    Wish.COUNT: _count,
    Wish.MISSING: _missing,
    Wish.COMMON: common,
    Wish.CORRELATION: _correlation,
    Wish.TREND: trend,
    Wish.RANKING: _ranking,
    Wish.SHARE: shares,
    Wish.ROWS: _rows,
    Wish.VALUES: _values,
    Wish.COLUMNS: _column_names,
    Wish.OVERVIEW: _overview,
    Wish.NOTHING: _not_understood,
}
