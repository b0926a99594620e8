"""Words of questions and column names, made comparable: case, accents, plurals and a few irregular forms."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_WORD = re.compile(
    r"\d{4}-\d{1,2}(?:-\d{1,2})?|\d+(?:[.,]\d+)*(?![\w])|[^\W_]+(?:['’](?!s\b)[^\W_]+)?|[<>!]=|==|[<>=≥≤≠]|(?<=\s)[#%](?=\s)"
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "sold": "sale",
    "sell": "sale",
    "sells": "sale",
    "selling": "sale",
    "bought": "purchase",
    "buy": "purchase",
    "spent": "spend",
    "paid": "pay",
    "earned": "earn",
    "earning": "earn",
    "earnings": "earn",
    "cost": "cost",
    "costing": "cost",
    "scored": "score",
    "weighs": "weight",
    "weigh": "weight",
    "data": "data",
    "series": "series",
    "colour": "color",
    "colours": "color",
}


@dataclass(frozen=True, slots=True)
class Word:
    """A word as written, and the stem by which it is compared."""

    text: str
    stem: str

    @property
    def is_number(self) -> bool:
        return self.text[0].isdigit() and not any(char.isalpha() or char == "-" for char in self.text)


def words(text: str) -> list[Word]:
    """The words, numbers and comparison signs of a text."""
    return [Word(found, stem(found)) for found in _WORD.findall(_HUMP.sub(" ", text))]


def stems(text: str) -> tuple[str, ...]:
    return tuple(word.stem for word in words(text))


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """The word without case, accents and plural ending."""
    folded = word.casefold()
    if not folded.isascii():
        decomposed = unicodedata.normalize("NFKD", folded)
        folded = "".join(char for char in decomposed if not unicodedata.combining(char))
    if folded in _IRREGULAR:
        return _IRREGULAR[folded]
    if len(folded) < 4 or not folded.endswith("s") or folded.endswith(("ss", "us", "is")):
        return folded
    if folded.endswith("ies") and len(folded) > 4:
        return folded[:-3] + "y"
    if folded.endswith(("sses", "xes", "ches", "shes", "zes")):
        return folded[:-2]
    return folded[:-1]


def akin(one: str, other: str) -> bool:
    """Whether two stems share their beginning closely enough to mean the same (order, ordered)."""
    short, long = sorted((one, other), key=len)
    return len(short) > 3 and len(long) - len(short) < 4 and long.startswith(short) and short.isalpha()
