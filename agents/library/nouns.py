"""What a sentence counts, measures and groups by."""

from __future__ import annotations

from collections.abc import Iterator

from agents.library.columns import Column, Kind, Table
from agents.library.questions import Group, is_additive
from agents.library.reading import Mention, Reading
from agents.library.vocabulary import (
    BUCKETS,
    GROUPERS,
    HIGH,
    LOW,
    MEANS,
    NUMBER_WORDS,
    ORDINALS,
    PERSONS,
    ROW_NOUNS,
)
from agents.library.words import stems

_SKIPPED = frozenset("the each every different distinct unique individual single of all".split())
_TIME_NAMES = frozenset("month week quarter day year period date time weekday".split())
_BOUNDS = frozenset("than over above under below between > < >= <= = == exceed and to".split())
_MOST = 1000


def limit_wanted(reading: Reading) -> int | None:
    """How many are asked for (top 5, five highest, which 3 products have the most), or None."""
    extremes = [place for place in reading.places(HIGH | LOW | {"first"}) if reading.stem(place - 1) != "at"]
    beside = [at for place in extremes for at in (place + 1, place - 1)]
    loose = [
        place
        for place in range(len(reading.words))
        if extremes
        and reading.stem(place - 1) not in _BOUNDS
        and (reading.at(place + 1) or reading.stem(place + 1) in ROW_NOUNS)
    ]
    for place in (*beside, *loose):
        count = _count_at(reading, place)
        if count and not (place in beside and reading.stem(place - 1) in _BOUNDS):
            reading.use(place)
            return count
    return None


def _count_at(reading: Reading, place: int) -> int | None:
    if not 0 <= place < len(reading.words) or place in reading.named | reading.used:
        return None
    text = reading.words[place].text
    count = (
        int(text) if text.isascii() and text.isdigit() and len(text) < 5 else NUMBER_WORDS.get(reading.stem(place), 0)
    )
    return count if 0 < count <= _MOST else None


def rank_wanted(reading: Reading) -> int:
    """2 for the second highest, and so on; else 1."""
    for place in reading.places(tuple(ORDINALS)):
        if {reading.stem(place + 1), reading.stem(place + 2)} & (HIGH | LOW):
            reading.use(place)
            return ORDINALS[reading.stem(place)]
    return 1


def groups_wanted(reading: Reading, *, ranks: bool) -> list[Group]:
    """What the sentence groups by: by region, per month, for each city and year. Uses those mentions up."""
    found: list[Group] = []
    for grouper in reading.places(GROUPERS):
        place = grouper + 1
        while reading.stem(place) in _SKIPPED:
            place += 1
        while group := _group_at(reading, place, ranks=ranks):
            end = mention.end if (mention := reading.at(place)) else place + 1
            if mention:
                reading.forget(mention)
            reading.use(*range(grouper, end))
            found.append(group)
            place = end + 1 if reading.stem(end) == "and" else end
            if reading.stem(end) != "and":
                break
    dated = next(iter(reading.table.of(Kind.DATE)), None)
    for place in reading.places(tuple(word for word in BUCKETS if word.endswith(("ly", "annual")))):
        if dated and not found:
            reading.use(place)
            found.append(Group(column=dated, bucket=BUCKETS[reading.stem(place)]))
    return found[:2]


def _group_at(reading: Reading, place: int, *, ranks: bool) -> Group | None:
    mention = reading.at(place)
    if mention is None:
        dated = next(iter(reading.table.of(Kind.DATE)), None)
        bucket = BUCKETS.get(reading.stem(place))
        return Group(column=dated, bucket=bucket) if dated and bucket else None
    others = [one for one in reading.columns if one is not mention and one.column.kind is Kind.NUMBER]
    if mention.column.kind is Kind.NUMBER and not others and (ranks or not mention.column.is_year):
        counted = {"many", "count", "number"} & {word.stem for word in reading.words}
        return Group(column=mention.column) if counted and not ranks else None
    return Group(column=mention.column)


def subject_wanted(reading: Reading) -> tuple[Group, Mention | None] | None:
    """What a ranking is about: which region, who, the month with the highest sales."""
    dated = next(iter(reading.table.of(Kind.DATE)), None)
    for place in reading.places(("which", "what")):
        bucket = BUCKETS.get(reading.stem(place + 1))
        if bucket and dated and not reading.at(place + 1):
            return Group(column=dated, bucket=bucket), None
        mention = reading.at(place + 1)
        if mention and not mention.column.is_measure:
            return Group(column=mention.column), mention
    numeric = any(one.column.is_measure for one in reading.columns)
    for mention in reading.columns:
        if mention.column.is_category or (mention.column.kind is Kind.DATE and numeric) or mention.column.is_year:
            return Group(column=mention.column), mention
    if reading.places(("who", "whose")) and (person := person_column(reading.table)):
        return Group(column=person), None
    if reading.places(("when",)) and dated and numeric:
        return Group(column=dated), None
    return None


def person_column(table: Table) -> Column | None:
    """The column that says who, by its name."""
    texts = [column for column in table.of(Kind.TEXT) if not column.identifies]
    named = [column for noun in PERSONS for column in texts if noun in stems(column.name)]
    return named[0] if named else None


def measures_wanted(reading: Reading) -> list[Mention]:
    """The numbers that the sentence is about: named, or meant by a verb or adjective (sold, oldest)."""
    named = [one for one in reading.columns if one.column.kind is Kind.NUMBER]
    if named:
        return named
    dates = [one for one in reading.columns if one.column.kind is Kind.DATE]
    if dates and reading.places(HIGH | LOW):
        return dates[:1]
    return next(([one] for one in _meant(reading)), [])


def _meant(reading: Reading) -> Iterator[Mention]:
    free = [place for place in range(len(reading.words)) if place not in reading.named | reading.used]
    numbers = [column for column in reading.table.of(Kind.NUMBER) if not column.identifies]
    for place in free:
        meanings = MEANS.get(reading.stem(place), ())
        for column in (one for meaning in meanings for one in numbers if meaning in stems(one.name)):
            if reading.stem(place) not in HIGH | LOW:
                reading.use(place)
            yield Mention(place, place + 1, column)
    dated = next(iter(reading.table.of(Kind.DATE)), None)
    for place in reading.places(("latest", "earliest", "newest", "recent", "oldest", "last", "first")):
        if dated:
            yield Mention(place, place + 1, dated)


def best_measure(table: Table) -> Column | None:
    """The number that is meant when none is named: the only one, else the first whose sum means something."""
    if len(table.measures) == 1:
        return table.measures[0]
    return next((column for column in table.measures if is_additive(column)), None)


def time_axis(table: Table) -> Column | None:
    """The column that orders rows in time: a date, a year, or a text called month and the like."""
    years = [column for column in table.columns if column.is_year]
    texts = [column for column in table.of(Kind.TEXT, Kind.NUMBER) if _TIME_NAMES & set(stems(column.name))]
    return next(iter([*table.of(Kind.DATE), *years, *texts]), None)
