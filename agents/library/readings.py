"""The tool calls that the words of a message spell out, for models too small to find them.

A model that knows no tool calls is asked to choose among these by a grammar that allows nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agents.errors import ToolError
from agents.library.calculator import evaluate
from agents.library.units import UNITS, find

MOST: Final = 4
LONGEST: Final = 120
READ: Final = 2_000
"""Characters of a message; what comes after is not what it asks."""

_NUMBER: Final = r"(?<![\d,.])\d[\d,]*(?:\.\d+)?"
_SUM: Final = re.compile(r"(?:sqrt\(|[\d(.−-])[\d\s.,()+*/×÷·^%−-]*(?:(?:of|mod|sqrt)\s*[\d\s.,()+*/×÷·^%−-]+)*")
_RANGE: Final = re.compile(r"\d+(?:[-−–/]\d+)+")
"""Years, scores, dates and telephone numbers look like sums."""
_ASKS: Final = re.compile(r"\bwhat\b|\bhow much\b|\bcomput|\bcalculat|=", re.IGNORECASE)
_UNIT: Final = r"[a-zA-Z°²³/][\w°²³/]*(?: (?:miles?|feet|foot|met(?:re|er)s?|kilomet(?:re|er)s?|hours?))?"
_CONVERSION: Final = re.compile(rf"({_NUMBER})\s*({_UNIT})\s+(?:to|in|into|as|are in)\s+({_UNIT})")
_TURNED: Final = re.compile(
    rf"how many ({_UNIT}) (?:are|is|in)(?: there)?(?: in)? ({_NUMBER})\s*({_UNIT})", re.IGNORECASE
)
_TIME: Final = re.compile(
    r"\bwhat(?:'s| is| was)? (?:the )?(?:current )?(?:time|date|day|weekday)\b(?: is it|\?| today| now|$)"
    r"|\btoday's date\b|\bcurrent (?:time|date)\b|\bwhat day is\b",
    re.IGNORECASE,
)
_ZONE: Final = re.compile(r"\b(?:Africa|America|Asia|Atlantic|Australia|Europe|Pacific)/[A-Z][A-Za-z_/]+")
_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_SAID: Final = re.compile(
    r"\bwhat did (?:I|you|we) (?:say|write|tell you|mention|ask|answer)(?: you| me)?(?: about)? ?(?P<words>.*)"
    r"|\b(?:find|search)\b.*\b(?:thread|conversation|chat)\b(?: for)? (?P<sought>.+)",
    re.IGNORECASE,
)


class Reading(msgspec.Struct, frozen=True):
    tool: str
    arguments: dict[str, Any]


def readings(message: str, *, question: str) -> list[Reading]:
    """The calls that a message spells out; `question` is what it asks of a table, empty where there is none."""
    if question:
        return [Reading("answer_question", {"question": question})]
    message = message[:READ]
    found = [*_thread(message), *_dates(message), *_units(message), *_time(message)]
    return (found or list(_arithmetic(message)))[:MOST]


def _arithmetic(message: str) -> Iterator[Reading]:
    for match in _SUM.finditer(message):
        text = match.group().strip(" .,+*/-")
        if text.count("(") < text.count(")"):
            text = text.rstrip(") ")
        if len(text) > LONGEST or not re.search(r"\d\s*[-+*/×÷·^%−]|\bmod\b|sqrt", text):
            continue
        if _RANGE.fullmatch(text) and not _ASKS.search(message):
            continue
        try:
            evaluate(text)
        except ToolError as error:
            if error.code != "bad_expression" or "zero" in error.message:
                yield Reading("calculate", {"expression": text})
        else:
            yield Reading("calculate", {"expression": text})


def _units(message: str) -> Iterator[Reading]:
    spelt = [match.groups() for match in _CONVERSION.finditer(message)]
    spelt += [(value, unit, to) for to, value, unit in (match.groups() for match in _TURNED.finditer(message))]
    for value, unit, to in spelt:
        names = (_known(unit), _known(to))
        if all(names) and find(str(names[0])).kind == find(str(names[1])).kind:
            yield Reading("convert_units", {"value": value, "unit": names[0], "to": names[1]})


def _known(words: str) -> str | None:
    """The unit that the words begin with, the longest one."""
    for name in (words, words.partition(" ")[0]):
        if name in UNITS or name.lower() in UNITS:
            return name
    return None


def _time(message: str) -> Iterator[Reading]:
    if _TIME.search(message):
        zone = _ZONE.search(message)
        yield Reading("current_time", {"zone": zone.group() if zone else "UTC"})


def _dates(message: str) -> Iterator[Reading]:
    days = _DATE.findall(message)
    if len(days) == 2:
        yield Reading("days_between", {"first": days[0], "second": days[1]})


def _thread(message: str) -> Iterator[Reading]:
    if match := _SAID.search(message):
        words = (match["words"] or match["sought"] or "").strip(" ?.!")
        yield Reading("search_thread", {"words": words[:LONGEST]})
