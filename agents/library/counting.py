"""Questions that count: rows, missing values, shares, what is most common."""

from __future__ import annotations

from agents.library.columns import Column, Kind
from agents.library.nouns import (
    measures_wanted,
    subject_wanted,
)
from agents.library.questions import Measure, Question, Wish, is_additive
from agents.library.sentences import Sentence
from agents.library.vocabulary import (
    COMMON,
    HIGH,
    LOW,
    MANY,
    MISSING,
    ROW_NOUNS,
    SHARE,
    Aggregate,
)
from agents.library.words import stems

_QUANTITIES = ("quantity", "qty", "stock", "unit")


def missing(sentence: Sentence) -> Question | None:
    """How many rows lack a value, or lack none."""
    lacked = [
        one
        for place in sentence.reading.places(("without", "no"))
        if (one := sentence.reading.at(place + 1)) is not None
    ]
    complete = sentence.has(("complete",)) and (sentence.has(ROW_NOUNS) or sentence.has(MANY))
    if not (sentence.has(MISSING) or lacked or complete):
        return None
    columns = tuple(one.column for one in lacked) or sentence.columns()
    places = sentence.reading.places(MISSING)
    negated = complete or any(sentence.reading.stem(place - 1) in ("not", "no", "non", "without") for place in places)
    sentence.reading.use(*sentence.reading.places(("complete",)), *places)
    sentence.skip_noun()
    return sentence.form(Wish.MISSING, columns=columns, negated=negated)


def share(sentence: Sentence) -> Question | None:
    """What part of the rows or of a sum something is."""
    if not sentence.has(SHARE):
        return None
    sentence.take_truths()
    measures = tuple(
        Measure(column=one.column, aggregate=Aggregate.SUM) for one in measures_wanted(sentence.reading)[:1]
    )
    subject = subject_wanted(sentence.reading)
    if not sentence.groups and subject and not sentence.wanted:
        sentence.groups = [subject[0]]
    return sentence.form(Wish.SHARE, measures=measures) if sentence.groups or sentence.wanted else None


def common(sentence: Sentence) -> Question | None:
    """Which value is there most often, or least."""
    columns = sentence.columns() or tuple(group.column for group in sentence.groups)
    if not sentence.has(COMMON) or not columns:
        return None
    low = sentence.has(frozenset(("rare", "rarest", "least", "fewest")))
    return sentence.form(
        Wish.COMMON,
        columns=columns[:1],
        groups=(),
        highest=not low,
        limit=sentence.limit_for(sentence.reading.columns[:1]),
    )


def count(sentence: Sentence) -> Question | None:
    """How many rows, different values, or units."""
    if not sentence.has(MANY) or (sentence.has(HIGH | LOW) and sentence.reading.columns):
        return None
    noun = sentence.noun()
    distinct = sentence.has(("different", "distinct", "unique"))
    if sentence.reading.stem(sentence.noun_place()) in ("column", "field") and not sentence.reading.columns:
        return sentence.form(Wish.COLUMNS)
    if noun and noun.column.is_measure and not distinct and is_additive(noun.column) and not sentence.has(("count",)):
        return sentence.form(Wish.AGGREGATE, measures=(Measure(column=noun.column, aggregate=Aggregate.SUM),))
    if distinct and sentence.reading.columns:
        noun = noun or sentence.reading.columns[0]
    if noun and (distinct or noun.column.kind is Kind.TEXT):
        return sentence.form(Wish.AGGREGATE, measures=(Measure(column=noun.column, aggregate=Aggregate.DISTINCT),))
    if amount := _amount_of_a_value(sentence):
        return sentence.form(Wish.AGGREGATE, measures=(Measure(column=amount, aggregate=Aggregate.SUM),))
    sentence.take_truths()
    return sentence.form(Wish.COUNT, note=sentence.skip_noun())


def _amount_of_a_value(sentence: Sentence) -> Column | None:
    """The quantity that `how many apples` asks for, if apples are a value and there is one such column."""
    place = sentence.noun_place()
    amounts = [one for one in sentence.table.measures if not set(_QUANTITIES).isdisjoint(stems(one.name))]
    if (
        len(amounts) == 1
        and any(one.start == place for one in sentence.reading.values)
        and not sentence.reading.columns
    ):
        return amounts[0]
    return None
