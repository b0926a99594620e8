"""Dates in cells: ISO, day or month first, and with month names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_NUMBER_OF = {name[:3]: place for place, name in enumerate(MONTHS, 1)}
_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?"
    r"\s?(?P<half>[ap]\.?m\.?)?\s?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
_MONTH = r"(?P<name>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,?\s+)?"
_SHAPES = tuple(
    re.compile(shape, re.IGNORECASE)
    for shape in (
        rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}}){_TIME}",
        r"(?P<year>\d{4})-(?P<month>\d{2})",
        rf"(?P<first>\d{{1,2}})(?P<mark>[-/.])(?P<then>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|\d{{2}}){_TIME}",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[ -]{_MONTH},?[ -](?P<year>\d{{4}}|\d{{2}}){_TIME}",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_TIME}",
        rf"{_MONTH}[ -](?P<year>\d{{4}})",
    )
)


@lru_cache(maxsize=65_536)
def date(cell: str, *, day_first: bool = False) -> datetime | None:
    """The moment a cell names (UTC if it has an offset, else as written), or None.

    `day_first` decides 01/02/2024; with dots the day is always first.
    """
    if not 6 <= len(cell) <= 40 or not any(char.isdigit() for char in cell):
        return None
    for shape in _SHAPES:
        if found := shape.fullmatch(cell):
            return _moment(found.groupdict(), day_first=day_first)
    return None


def day_first(cells: list[str]) -> bool | None:
    """Whether these cells put the day before the month; None when they could be either."""
    for cell in cells:
        found = _SHAPES[2].fullmatch(cell)
        if found is None:
            continue
        if found["mark"] == "." or int(found["first"]) > 12:
            return True
        if int(found["then"]) > 12:
            return False
    return None


def month_first_or_day_first(cell: str) -> bool:
    """Whether the cell's order of day and month is open."""
    found = _SHAPES[2].fullmatch(cell)
    return found is not None and found["mark"] != "." and found["first"] != found["then"]


def month_number(word: str) -> int | None:
    """1 to 12 for a month's English name or its abbreviation."""
    name = word.casefold().rstrip(".")
    if len(name) >= 3 and (name == "sept" or any(month.startswith(name) for month in MONTHS)):
        return _NUMBER_OF[name[:3]] if name in MONTHS or len(name) <= 4 else None
    return None


def month_start(year: int, month: int) -> datetime:
    """The first moment of a month; month 13 and later are those of the next year."""
    return datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=UTC).replace(tzinfo=None)


def has_time(moment: datetime) -> bool:
    return (moment.hour, moment.minute, moment.second) != (0, 0, 0)


def _moment(parts: dict[str, str | None], *, day_first: bool) -> datetime | None:
    year = int(parts["year"] or 0)
    if year < 100:
        year += 2000 if year < 70 else 1900
    day, month = _day_and_month(parts, day_first=day_first)
    hour = int(parts.get("hour") or 0)
    if half := parts.get("half"):
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    try:
        moment = datetime(
            year, month, day, hour, int(parts.get("minute") or 0), int(parts.get("second") or 0), tzinfo=UTC
        )
        zone = parts.get("zone")
        return (moment - _offset(zone or "Z")).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def _day_and_month(parts: dict[str, str | None], *, day_first: bool) -> tuple[int, int]:
    if first := parts.get("first"):
        then = int(parts["then"] or 0)
        swap = day_first or parts.get("mark") == "."
        return (int(first), then) if swap else (then, int(first))
    if name := parts.get("name"):
        return int(parts.get("day") or 1), _NUMBER_OF[name.casefold()]
    return int(parts.get("day") or 1), int(parts["month"] or 0)


def _offset(zone: str) -> timedelta:
    if zone in ("Z", "z", "UTC"):
        return timedelta(0)
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -offset if zone[0] == "-" else offset
