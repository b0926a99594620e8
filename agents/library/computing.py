"""Questions that compute: aggregates, correlation, trend, and look-ups without a word for what to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from agents.library.columns import Kind
from agents.library.nouns import (
    best_measure,
    measures_wanted,
    time_axis,
)
from agents.library.questions import Group, Measure, Question, Wish, is_additive
from agents.library.reading import Mention
from agents.library.sentences import Sentence
from agents.library.vocabulary import (
    AGGREGATES,
    ASKING,
    CORRELATION,
    HIGH,
    LOW,
    OVERVIEW,
    STOP,
    TREND,
    Aggregate,
)

_ALL_MEASURES = 8


def correlation(sentence: Sentence) -> Question | None:
    """Whether two numbers rise and fall together."""
    if not sentence.has(CORRELATION):
        return None
    return sentence.form(Wish.CORRELATION, columns=tuple(one for one in sentence.columns() if one.kind is Kind.NUMBER))


def trend(sentence: Sentence) -> Question | None:
    """How a number changes through time."""
    stems_ = [word.stem for word in sentence.reading.words]
    over_time = any(pair in (("over", "time"), ("over", "year")) for pair in pairwise(stems_))
    if not (sentence.has(TREND) or over_time):
        return None
    axis = time_axis(sentence.table)
    named = [one.column for one in measures_wanted(sentence.reading) if one.column != axis]
    measure = named[0] if named else best_measure(sentence.table)
    if axis is None or measure is None:
        return sentence.form(Wish.NOTHING, note="For a trend I need a column of dates or years and one of numbers.")
    group = next((one for one in sentence.groups if one.column == axis), Group(column=axis))
    return sentence.form(
        Wish.TREND, measures=(Measure(column=measure, aggregate=sentence.first(measure)),), groups=(group,)
    )


def aggregate(sentence: Sentence) -> Question | None:
    """Totals, averages and the like, perhaps by group."""
    said = sentence.aggregates() + [
        (place, extreme)
        for vocabulary, extreme in ((HIGH, Aggregate.HIGHEST), (LOW, Aggregate.LOWEST))
        for place in sentence.reading.places(vocabulary)
        if sentence.reading.stem(place) not in AGGREGATES
    ]
    mentions = measures_wanted(sentence.reading)
    if said and not mentions and said[0][1] is Aggregate.DISTINCT:
        mentions = list(sentence.reading.columns)
    if said and not mentions:
        return _aggregate_all(sentence, said)
    if not mentions or not (said or sentence.groups):
        return None
    if not said:
        columns = dict.fromkeys(one.column for one in mentions)
        return sentence.form(
            Wish.AGGREGATE,
            measures=tuple(Measure(column=one, aggregate=sentence.first(one)) for one in columns),
        )
    return sentence.form(Wish.AGGREGATE, measures=tuple(_paired(sorted(said), mentions)))


def _aggregate_all(sentence: Sentence, said: Sequence[tuple[int, Aggregate]]) -> Question | None:
    """An aggregate of no column in particular: of every number, unless some word might have named one."""
    if sentence.reading.leftovers() and len(sentence.table.measures) > 1:
        return sentence.form(Wish.NOTHING, note="I could not tell which column you mean.")
    measures = [
        Measure(column=column, aggregate=aggregate)
        for column in sentence.table.measures[:_ALL_MEASURES]
        for _, aggregate in said[:1]
    ]
    return sentence.form(Wish.AGGREGATE, measures=tuple(measures)) if measures else None


def _paired(said: Sequence[tuple[int, Aggregate]], mentions: Sequence[Mention]) -> list[Measure]:
    """Each aggregate with the column named next after it, else the last before; then columns left over."""
    pairs: list[Measure] = []
    for place, aggregate in said:
        following = [one for one in mentions if one.start >= place]
        pairs.append(Measure(column=(following or mentions[-1:])[0].column, aggregate=aggregate))
    for one in mentions:
        if all(pair.column != one.column for pair in pairs):
            earlier = [aggregate for place, aggregate in said if place < one.start] or [said[0][1]]
            pairs.append(Measure(column=one.column, aggregate=earlier[-1]))
    return list(dict.fromkeys(pairs))


def rest(sentence: Sentence) -> Question | None:
    """Questions without a word for what to do: look-ups, lists, one column, the whole."""
    if not sentence.reading.columns and not sentence.wanted and not sentence.groups:
        return _about_the_table(sentence)
    measures = tuple(Measure(column=one.column) for one in measures_wanted(sentence.reading))
    subjects = tuple(one for one in sentence.columns() if one.kind is not Kind.NUMBER)
    if not sentence.wanted and not measures and sentence.groups:
        return sentence.form(Wish.COUNT)
    if not sentence.wanted and measures:
        return sentence.form(Wish.AGGREGATE, measures=measures) if _is_asked(sentence) else None
    if sentence.wanted:
        if sentence.reading.places(("much",)) and measures and is_additive(measures[0].column):
            return sentence.form(
                Wish.AGGREGATE, measures=(Measure(column=measures[0].column, aggregate=Aggregate.SUM),)
            )
        return sentence.form(Wish.ROWS, measures=measures, columns=subjects)
    return sentence.form(Wish.VALUES, columns=subjects[:1]) if _is_asked(sentence) else None


def _is_asked(sentence: Sentence) -> bool:
    """Whether the sentence reads as a question or an order, not as an announcement of the table."""
    first = sentence.reading.stem(0)
    return "?" in sentence.text or first in ASKING | OVERVIEW | set("how list show give tell".split())


def _about_the_table(sentence: Sentence) -> Question | None:
    words = {word.stem for word in sentence.reading.words}
    if words & {"column", "field", "header"} and words & ASKING:
        return sentence.form(Wish.COLUMNS)
    if words & OVERVIEW and not (set(sentence.reading.leftovers()) - STOP and "?" in sentence.text):
        return sentence.form(Wish.OVERVIEW)
    return None
