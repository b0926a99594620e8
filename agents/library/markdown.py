"""Text for a Markdown report: values as people write them, and cells that cannot break out of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from agents.library.columns import Column, Kind

LONGEST_CELL = 60
_SPECIAL = re.compile(r"[\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})
_LINK = re.compile(r"(?i)(www)\.|(https?|ftp)://")


def escape(text: str, longest: int = LONGEST_CELL) -> str:
    """Someone else's text as it reads, on one line, cut if long: no Markdown, HTML or link comes of it."""
    line = " ".join("".join(char for char in text[: 4 * longest] if not _is_hidden(char)).split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    line = _SPECIAL.sub(r"\\\g<0>", line).translate(_ENTITIES)
    return _LINK.sub(lambda link: f"{link[1]}&#46;" if link[1] else f"{link[2]}&#58;//", line)


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf") and not char.isspace()


def figure(value: float) -> str:
    """A number with thousands separators, and 4 significant digits or 2 decimals, whichever is more."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1e15 or size < 1e-4:
        return f"{value:.4g}"
    decimals = 2
    while decimals < 8 and size < 10 ** (3 - decimals):
        decimals += 1
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def with_unit(value: float, column: Column) -> str:
    """A number of the column, with the sign that its cells carry; a year is not grouped."""
    if column.is_year:
        return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
    if not column.unit:
        return figure(value)
    if column.leads:
        space = " " if column.unit[-1].isalpha() else ""
        return f"{'-' if value < 0 else ''}{column.unit}{space}{figure(abs(value))}"
    return f"{figure(value)}{'' if column.unit == '%' else ' '}{column.unit}"


def shown(value: object, column: Column) -> str:
    """A value of the column, ready for Markdown; nothing for a missing one."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}" if column.times else f"{value:%Y-%m-%d}"
    if column.kind is Kind.NUMBER and isinstance(value, int | float):
        return escape(with_unit(value, column))
    return escape(str(value))


def share(part: float, whole: float) -> str:
    """A percentage with one decimal."""
    return f"{100 * part / whole:.1f} %".replace(".0 %", " %") if whole else "0 %"


def rows_of(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """A Markdown table of cells that are escaped already; `right` are the columns aligned there."""
    rule = ["---:" if place in right else "---" for place in range(len(head))]
    lines = (head, rule, *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
