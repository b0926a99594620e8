"""Questions that rank: which is highest, the top five, who is oldest."""

from __future__ import annotations

from collections.abc import Sequence

from agents.library.columns import Column, Kind
from agents.library.nouns import (
    best_measure,
    measures_wanted,
    rank_wanted,
    subject_wanted,
)
from agents.library.questions import Group, Measure, Question, Wish, is_additive
from agents.library.reading import Mention
from agents.library.sentences import Sentence
from agents.library.vocabulary import (
    ASKING,
    HIGH,
    LOW,
    MANY,
    MEANS,
    Aggregate,
)

_EXTREMES = (Aggregate.HIGHEST, Aggregate.LOWEST)
_SORTED = frozenset(("sort", "sorted", "rank", "ranked", "ordered"))
_SORTED_LIMIT = 20


def ranking(sentence: Sentence) -> Question | None:
    """Which rows or groups are highest or lowest."""
    high, low = sentence.has(HIGH), sentence.has(LOW)
    others = [aggregate for _, aggregate in sentence.aggregates() if aggregate not in _EXTREMES]
    is_sorted = sentence.has(_SORTED)
    if not (high or low or sentence.limit or is_sorted) or (high and low):
        return None
    if is_sorted and not sentence.limit:
        sentence.limit = _SORTED_LIMIT
    mentions = measures_wanted(sentence.reading)
    if sentence.groups and mentions and not sentence.limit and not others and not _asks_which(sentence):
        return None
    subject = subject_wanted(sentence.reading)
    if others and mentions and not (sentence.groups or subject or sentence.limit):
        return None
    within = bool(sentence.groups and sentence.limit and mentions and not subject)
    if subject and not within:
        sentence.groups = [subject[0], *sentence.groups[:1]] if sentence.has(MANY) else [subject[0]]
    column = mentions[0].column if mentions else None
    return _ranked(sentence, column, subject[1] if subject else None, mentions, within=within)


def _asks_which(sentence: Sentence) -> bool:
    """Whether a column is asked for: which region."""
    return any(
        (one := sentence.reading.at(place + 1)) is not None and not one.column.is_measure
        for place in sentence.reading.places(ASKING)
    )


def _ranked(
    sentence: Sentence, column: Column | None, subject: Mention | None, mentions: Sequence[Mention], *, within: bool
) -> Question | None:
    note, counted = "", sentence.has(MANY) and column is None
    vague = sentence.has(("best", "worst", "top", "bottom", "highest", "lowest", "biggest", "largest", "smallest"))
    if column is None and not counted and (vague or not sentence.groups):
        column = best_measure(sentence.table)
        several = len(sentence.table.measures) > 1
        note = f"You named no number to go by, so I took “{column.name}”." if column and several else ""
        if column is None:
            return sentence.form(Wish.NOTHING, note="I could not tell which number to rank by.")
    if column is None and not sentence.groups:
        return None
    high = not sentence.has(LOW | {"ascending"}) and not (
        column and column.kind is Kind.DATE and sentence.has(("oldest", "first"))
    )
    nouns = [subject] if subject else [] if sentence.groups and not within else list(mentions)
    measures = () if column is None else (Measure(column=column, aggregate=_ranked_by(sentence, column, high=high)),)
    if sentence.groups and not within and measures and _is_unique(sentence, sentence.groups[0]):
        sentence.groups = []
    return sentence.form(
        Wish.RANKING,
        measures=measures,
        highest=high,
        limit=sentence.limit_for(nouns),
        rank=rank_wanted(sentence.reading),
        within=within,
        columns=(subject.column,) if subject else (),
        note=note,
    )


def _ranked_by(sentence: Sentence, column: Column, *, high: bool) -> Aggregate:
    """How a group's values become one to be ranked by."""
    others = [aggregate for _, aggregate in sentence.aggregates() if aggregate not in _EXTREMES]
    if others:
        return others[0]
    most = [
        place
        for place in sentence.reading.places(("most", "least", "fewest"))
        if sentence.reading.stem(place + 1) not in MEANS
    ]
    if column.kind is Kind.NUMBER and (is_additive(column) or (most and column.unit != "%")):
        return Aggregate.SUM
    return Aggregate.HIGHEST if high else Aggregate.LOWEST


def _is_unique(sentence: Sentence, group: Group) -> bool:
    """Whether every row is a group of its own."""
    values = sentence.table.frame[group.column.key].drop_nulls()
    return not group.bucket and len(values) == sentence.table.distinct[group.column.key]
