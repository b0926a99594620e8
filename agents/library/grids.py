"""Cells as they were found, before anything is known of their types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from agents.library.cells import is_missing, number
from agents.library.dates import date

_YEAR = re.compile(r"(?:19|20)\d{2}")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A rectangle of text: every row has as many cells as there are names, and every name is there once."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    layout: str
    warnings: tuple[str, ...] = ()
    exact_numbers: bool = False


def clean(cell: str) -> str:
    """The cell without surrounding blanks, NULs and other control characters."""
    if cell.isascii() and cell.isprintable():
        return cell.strip()
    kept = (char for char in cell if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf"))
    return "".join(kept).strip()


def grid(records: Sequence[Sequence[str]], layout: str) -> Grid:
    """The records, the first of which names the columns unless it looks like data, as a rectangle."""
    cleaned = [[clean(cell) for cell in record] for record in records]
    warnings: list[str] = []
    if _is_data(cleaned):
        cleaned.insert(0, [])
        warnings.append("The first row looks like data, not like names, so I numbered the columns.")
    header, *body = cleaned
    rows = [row for row in body if any(row)]
    width = max([len(header), *map(len, rows)])
    header, rows, width = _without_empty_edge(header, rows, width)
    names = _unique(header, width, warnings)
    ragged = [place for place, row in enumerate(rows, 1) if len(row) != (len(header) or width)]
    if ragged:
        warnings.append(_ragged(ragged, len(header) or width))
    if header and width > len(header):
        warnings.append(f"Some rows have more cells than the header; so I named {width - len(header)} more.")
    return Grid(
        names=tuple(names),
        rows=tuple(tuple(row + [""] * (width - len(row))) for row in rows),
        layout=layout,
        warnings=tuple(warnings),
    )


def _is_data(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first of several records can't be a header: nothing but numbers, dates and blanks."""
    if len(records) < 2 or not any(records[0]):
        return False
    first = [cell for cell in records[0] if not is_missing(cell)]
    if all(_YEAR.fullmatch(cell) for cell in first) and len(set(first)) == len(first):
        return False
    return all(number(cell) is not None or date(cell) is not None for cell in first)


def _without_empty_edge(header: list[str], rows: list[list[str]], width: int) -> tuple[list[str], list[list[str]], int]:
    """The same without a last column that has neither a name nor a value (a delimiter ended every line)."""
    while width > 1 and not any(len(row) == width and row[-1] for row in (header, *rows)):
        width -= 1
        header, rows = header[:width], [row[:width] for row in rows]
    return header, rows, width


def _unique(header: Sequence[str], width: int, warnings: list[str]) -> list[str]:
    names: list[str] = []
    taken: dict[str, int] = {}
    for place in range(1, width + 1):
        cell = header[place - 1] if place <= len(header) else ""
        name = " ".join(cell.split()) or f"column {place}"
        if not cell and place <= len(header):
            warnings.append(f"Column {place} has no name; I call it “{name}”.")
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            count = taken[name]
            while f"{name} ({count})" in taken:
                count += 1
            warnings.append(f"The name “{name}” is there more than once; column {place} becomes “{name} ({count})”.")
            name = f"{name} ({count})"
            taken[name] = 1
        names.append(name)
    return names


def _ragged(places: Sequence[int], width: int) -> str:
    shown = ", ".join(map(str, places[:10])) + (", …" if len(places) > 10 else "")
    what = "row has" if len(places) == 1 else "rows have"
    return (
        f"{len(places):,} {what} more or fewer than {width} cells (row {shown}); "
        "missing cells count as empty, and cells may have slipped into a wrong column."
    )
