"""What one cell of a table says: nothing, a number, or a truth; dates are in dates.py."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Decimal = Literal[".", ","]

MISSING = frozenset(
    (
        "",
        "na",
        "n/a",
        "#n/a",
        "n.a.",
        "<na>",
        "nan",
        "null",
        "none",
        "nil",
        "missing",
        "-",
        "--",
        "–",
        "—",
        "?",
    )
)
TRUE = frozenset(("true", "yes", "t", "y"))
FALSE = frozenset(("false", "no", "f", "n"))

_INFINITE = {"inf": math.inf, "infinity": math.inf, "∞": math.inf}
_CURRENCY = (
    r"(?:US|AU|CA|NZ|HK|A|C|S|R)?\$|[€£¥₹₽₩₺₫₴₦฿₿]"
    r"|USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|AUD|CAD|kr|zł"
)
_EXPONENT = r"(?:[eE][+-]?\d{1,4})?"
_BODY: dict[Decimal, str] = {
    ".": rf"(?:[1-9]\d{{0,2}}(?P<mark>[,' ])\d{{3}}(?:(?P=mark)\d{{3}})*|[1-9]\d?(?:,\d{{2}})+,\d{{3}}|\d+)"
    rf"(?:\.\d*)?{_EXPONENT}|\.\d+{_EXPONENT}",
    ",": rf"(?:[1-9]\d{{0,2}}(?P<mark>[.' ])\d{{3}}(?:(?P=mark)\d{{3}})*|\d+)"
    rf"(?:,\d+)?{_EXPONENT}|,\d+{_EXPONENT}",
}
_PLAIN = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,2})?")
_SHAPE = {
    decimal: re.compile(
        rf"(?P<sign>[+-]?)(?P<before>{_CURRENCY})?\s?(?P<inner>[+-]?)(?P<body>{body})\s?(?P<after>%|{_CURRENCY})?"
    )
    for decimal, body in _BODY.items()
}
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "−": "-", "’": "'"})


@dataclass(frozen=True, slots=True)
class Number:
    """A number as a cell shows it; `unit` is its percent or currency sign, `leads` if that comes first."""

    value: float
    unit: str = ""
    leads: bool = False


def is_missing(cell: str) -> bool:
    """Whether the cell says that there is no value."""
    return len(cell) < 8 and cell.casefold() in MISSING


def boolean(cell: str) -> bool | None:
    """The truth that the cell states, or None."""
    folded = cell.casefold()
    return True if folded in TRUE else False if folded in FALSE else None


@lru_cache(maxsize=65_536)
def number(cell: str, decimal: Decimal = ".") -> Number | None:
    """The number in a cell with this decimal sign, or None; digits with leading zeros are no number."""
    if decimal == "." and _PLAIN.fullmatch(cell):
        return Number(float(cell))
    if len(cell) > 40:
        return None
    text = cell.translate(_SPACES).strip()
    negative = text.startswith("(") and text.endswith(")")
    if negative:
        text = text[1:-1].strip()
    bare = text.lstrip("+-").casefold()
    if bare in _INFINITE:
        return Number(-math.inf if text.startswith("-") or negative else math.inf)
    return _shaped(text, decimal, negative=negative)


def _shaped(text: str, decimal: Decimal, *, negative: bool) -> Number | None:
    found = _SHAPE[decimal].fullmatch(text)
    if found is None or (found["sign"] and found["inner"]):
        return None
    body = found["body"]
    if re.match(r"0\d", body) or (found["before"] and found["after"]):
        return None
    value = float(re.sub(r"[^\deE+.-]", "", body if decimal == "." else body.replace(".", "").replace(",", ".")))
    if negative or "-" in (found["sign"], found["inner"]):
        value = -value
    return Number(value, found["before"] or found["after"] or "", leads=bool(found["before"]))


def ambiguous(cell: str) -> bool:
    """Whether the cell is a number by either decimal sign, and not the same one."""
    point, comma = number(cell, "."), number(cell, ",")
    return point is not None and comma is not None and point.value != comma.value
