"""The times that a sentence names: in 2023, since March 2024, before 2024-05-01."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from agents.library import dates
from agents.library.columns import Column, Kind
from agents.library.condition import Condition, Unclear
from agents.library.reading import Reading

YEAR = re.compile(r"(?:1[89]|20)\d{2}")


def times(reading: Reading) -> Iterator[Condition]:
    """`in 2023`, `since March 2024`, `before 2024-05-01`, for tables with a date or a year."""
    column = next((one.column for one in reading.columns if one.column.kind is Kind.DATE), None)
    column = column or next(iter(reading.table.of(Kind.DATE)), None)
    years = next((one for one in reading.table.columns if one.is_year), None)
    place, unsigned = 0, 0
    while place < len(reading.words):
        span = None if place in reading.used | reading.named else _span_at(reading, place)
        if span is None:
            place += 1
            continue
        start, end, after = span
        sign, first = _time_sign(reading, place)
        unsigned += not sign
        if unsigned > 1 and column:
            raise Unclear("I can look at one span of time in a question, and yours has several.")
        if column:
            yield from _within(column, sign, start, end)
        elif years and start.month == 1 and end.year == start.year + 1:
            yield Condition(column=years, sign=sign or "=", values=(float(start.year),))
        if column or years:
            reading.use(*range(first, after))
        place = after
    if column:
        yield from _months(reading, column)


def _span_at(reading: Reading, place: int) -> tuple[datetime, datetime, int] | None:
    """The time from, to (exclusive) that is named at this word, and the word after it."""
    word, following = reading.words[place], reading.stem(place + 1)
    if YEAR.fullmatch(word.text) and _is_time_word(reading, place):
        return dates.month_start(int(word.text), 1), dates.month_start(int(word.text), 13), place + 1
    month, quarter = dates.month_number(word.text), re.fullmatch(r"q([1-4])", word.stem)
    if (month or quarter) and YEAR.fullmatch(following):
        first, length = (month, 1) if month else (int(quarter[1]) * 3 - 2 if quarter else 1, 3)
        start, end = (dates.month_start(int(following), at) for at in (first, first + length))
        return start, end, place + 2
    if (moment := dates.date(word.text)) is not None and moment.year < 9999:
        if word.text.count("-") == 1:
            return moment, dates.month_start(moment.year, moment.month + 1), place + 1
        return moment, moment + timedelta(days=1), place + 1
    return None


def _is_time_word(reading: Reading, place: int) -> bool:
    before = reading.stem(place - 1)
    return before in "in during of for from since after before until through to between and year".split() or (
        reading.before(place) is not None and reading.columns[0].column.kind is Kind.DATE
    )


def _time_sign(reading: Reading, place: int) -> tuple[str, int]:
    """How the time at this word bounds rows (empty: within it), and the first word that says so."""
    signs = {"since": ">=", "after": ">", "before": "<", "until": "<=", "through": "<=", ">": ">", "<": "<"}
    signs |= {">=": ">=", "<=": "<=", "to": "<=", "and": "<=", "between": ">=", "from": ">="}
    before = reading.stem(place - 1)
    if before in ("from", "between") and reading.stem(place + 1) not in ("to", "and", "until", "through"):
        return "", place - 1
    if before in ("to", "and") and reading.stem(place - 3) not in ("from", "between"):
        return "", place
    return (signs[before], place - 1) if before in signs else ("", place)


def _within(column: Column, sign: str, start: datetime, end: datetime) -> Iterator[Condition]:
    if sign in ("", ">="):
        yield Condition(column=column, sign=">=", values=(start,))
    if sign == ">":
        yield Condition(column=column, sign=">=", values=(end,))
    if sign in ("", "<="):
        yield Condition(column=column, sign="<", values=(end,))
    if sign == "<":
        yield Condition(column=column, sign="<", values=(start,))


def _months(reading: Reading, column: Column) -> Iterator[Condition]:
    """`in March`, of whichever year."""
    for place, word in enumerate(reading.words):
        month = dates.month_number(word.text)
        if month and place not in reading.used | reading.named and reading.stem(place - 1) in ("in", "during", "for"):
            reading.use(place)
            yield Condition(column=column, sign="month", values=(float(month),))
