"""The conditions that a sentence puts on rows: values, comparisons and times."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.library.columns import Column, Kind
from agents.library.condition import COMPARISONS, Condition, Unclear
from agents.library.reading import Mention, Reading
from agents.library.times import YEAR, times
from agents.library.vocabulary import MEANS
from agents.library.words import stems

_COMPARE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("no", "more", "than"), "<="),
    (("not", "more", "than"), "<="),
    (("no", "less", "than"), ">="),
    (("not", "less", "than"), ">="),
    (("greater", "than", "or", "equal", "to"), ">="),
    (("less", "than", "or", "equal", "to"), "<="),
    *(((word, "than"), ">") for word in "greater more higher larger bigger older longer taller heavier".split()),
    *(((word, "than"), "<") for word in "less fewer lower smaller younger shorter cheaper lighter".split()),
    (("at", "least"), ">="),
    (("at", "most"), "<="),
    *(((word,), ">") for word in ("over", "above", "exceed", "exceeding", ">", "after")),
    *(((word,), "<") for word in ("under", "below", "<", "before")),
    *(((word,), ">=") for word in (">=", "≥", "since")),
    *(((word,), "<=") for word in ("<=", "≤", "until", "through")),
    *(((word,), "!=") for word in ("!=", "≠")),
    *(((word,), "=") for word in ("=", "==")),
    (("equal", "to"), "="),
    (("equal",), "="),
)
_FILLERS = frozenset("is are was were has have of a an the that value with in be being for to column field".split())
_NEGATIONS = frozenset("not except excluding exclude without != ≠ isn aren wasn weren ignoring".split())
_SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "billion": 1e9}
_SCALED = re.compile(r"(\d+(?:\.\d+)?)([km])", re.IGNORECASE)


def conditions(reading: Reading) -> tuple[Condition, ...]:
    """The conditions of a sentence, whose words are then used; raises Unclear."""
    found = [*_comparisons(reading), *times(reading), *_equalities(reading), *_values(reading)]
    merged: dict[tuple[str, str], Condition] = {}
    for one in found:
        key = (one.column.key, one.sign if one.sign in ("=", "!=", "month") else f"{one.sign}{one.values}")
        if key in merged:
            values = tuple(dict.fromkeys((*merged[key].values, *one.values)))
            one = Condition(column=one.column, sign=one.sign, values=values)  # noqa: PLW2901
        merged[key] = one
    return tuple(merged.values())


def _values(reading: Reading) -> Iterator[Condition]:
    for mention in reading.values:
        start = mention.start
        beside = next((one for one in reading.columns if _belongs(reading, one, mention)), None)
        if beside:
            start = min(start, beside.start)
            reading.forget(beside)
        before = {reading.stem(place) for place in range(max(0, mention.start - 2), mention.start)}
        before |= {
            reading.stem(start - 1),
            reading.stem(start - 2) if reading.stem(start - 1) in _FILLERS else "",
        }
        other = reading.stem(start - 1) == "than" and reading.stem(start - 2) == "other"
        sign = "!=" if other or before & _NEGATIONS else "="
        yield Condition(column=mention.column, sign=sign, values=(mention.value or "",))


def _belongs(reading: Reading, name: Mention, value: Mention) -> bool:
    """Whether a column is named only to say whose value this is: `region North`, `city is not Rome`."""
    if name.column is not value.column:
        return False
    if name.start == value.end:
        return reading.stem(value.end - 1) != "and"
    between = {reading.stem(place) for place in range(name.end, value.start)}
    asked = reading.stem(name.start - 1) in ("which", "what", "by", "per", "each", "every")
    return name.end <= value.start and not asked and between <= _FILLERS | _NEGATIONS | {"=", "==", "equal"}


def _comparisons(reading: Reading) -> Iterator[Condition]:
    place = 0
    while place < len(reading.words):
        end, sign = _sign_at(reading, place)
        if not sign:
            place += 1
            continue
        number_at = end
        while reading.stem(number_at) in _FILLERS:
            number_at += 1
        value, after = _number_at(reading, number_at)
        if value is not None and not _is_moment(reading, place, number_at, sign):
            column = _compared(reading, place, after)
            yield Condition(column=column, sign=sign, values=(value,))
            reading.use(*range(place, after))
        place = max(place + 1, after if value is not None else end)
    yield from _between(reading)


def _sign_at(reading: Reading, place: int) -> tuple[int, str]:
    for phrase, sign in _COMPARE:
        if all(reading.stem(place + offset) == word for offset, word in enumerate(phrase)):
            end = place + len(phrase)
            return (
                (end + 2, sign + "=") if (reading.stem(end), reading.stem(end + 1)) == ("or", "equal") else (end, sign)
            )
    return place, ""


def _number_at(reading: Reading, place: int) -> tuple[float | None, int]:
    """The number at this word, and the word after it."""
    if not 0 <= place < len(reading.words) or place in reading.named:
        return None, place
    word = reading.words[place]
    if scaled := _SCALED.fullmatch(word.text):
        return float(scaled[1]) * _SCALES[scaled[2].lower()], place + 1
    if not word.is_number:
        return None, place
    try:
        value = float(word.text.replace(",", ""))
    except ValueError:
        return None, place
    scale = _SCALES.get(reading.stem(place + 1))
    return (value * scale, place + 2) if scale and len(reading.stem(place + 1)) > 1 else (value, place + 1)


def _is_moment(reading: Reading, place: int, number_at: int, sign: str) -> bool:
    """Whether `after 2020` and its like are about a date."""
    if not reading.table.of(Kind.DATE) or not YEAR.fullmatch(reading.words[number_at].text):
        return False
    named = _named_before(reading, place)
    return (named is None or named.column.kind is Kind.DATE) and sign in COMPARISONS


def _named_before(reading: Reading, place: int) -> Mention | None:
    while place > 0 and reading.stem(place - 1) in _FILLERS and not reading.before(place):
        place -= 1
    return reading.before(place)


def _compared(reading: Reading, place: int, after: int) -> Column:
    """The column that a comparison at `place`, whose number ends at `after`, is about; raises Unclear."""
    named = _named_before(reading, place) or reading.at(after)
    if named and named.column.kind is Kind.NUMBER:
        reading.forget(named)
        return named.column
    for word in (reading.stem(place), reading.stem(after), reading.stem(place - 1), reading.stem(after + 1)):
        for meant in MEANS.get(word, ()):
            for column in reading.table.of(Kind.NUMBER):
                if meant in stems(column.name):
                    reading.use(place - 1, after, after + 1)
                    return column
    earlier = [one.column for one in reading.columns if one.column.kind is Kind.NUMBER and one.end <= place]
    if earlier or len(reading.table.measures) == 1:
        return earlier[-1] if earlier else reading.table.measures[0]
    said = " ".join(word.text for word in reading.words[place:after])
    raise Unclear(f"I could not tell which column “{said}” is about.")


def _between(reading: Reading) -> Iterator[Condition]:
    for place in (place for place, word in enumerate(reading.words) if word.stem in ("between", "from")):
        low, middle = _number_at(reading, place + 1)
        high, after = _number_at(reading, middle + 1)
        if low is None or high is None or reading.stem(middle) not in ("and", "to", "through"):
            continue
        if _is_moment(reading, place, place + 1, ">="):
            continue
        column = _compared(reading, place, after)
        reading.use(*range(place, after))
        yield Condition(column=column, sign=">=", values=(low,))
        yield Condition(column=column, sign="<=", values=(high,))


def _equalities(reading: Reading) -> Iterator[Condition]:
    """`store 5`, `year = 2023`, and `country = Atlantis`, which no row fulfils."""
    for mention in list(reading.columns):
        place = mention.end
        signed = reading.stem(place) in ("=", "==", "equal", "!=", "≠")
        where = "where" in (reading.stem(mention.start - 1), reading.stem(mention.start - 2))
        while reading.stem(place) in _FILLERS | _NEGATIONS | {"=", "==", "equal"}:
            place += 1
        negated = any(reading.stem(at) in _NEGATIONS for at in range(mention.end, place))
        value, after = _number_at(reading, place)
        sign = "!=" if negated else "="
        if mention.column.kind is Kind.NUMBER and value is not None and place not in reading.used:
            yield Condition(column=mention.column, sign=sign, values=(value,))
        elif mention.column.is_category and (signed or (where and place > mention.end)):
            if any(one.start == place for one in reading.values) or place >= len(reading.words):
                continue
            after = place + 1
            yield Condition(column=mention.column, sign=sign, values=(reading.words[place].text,))
        else:
            continue
        reading.use(*range(mention.start, after))
        reading.columns.remove(mention)
