"""Tables as lines of text: comma, semicolon, tab or pipe between cells, perhaps with prose around."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agents.library.cells import is_missing, number
from agents.library.dates import date
from agents.library.grids import Grid, clean, grid

_LAYOUTS = {"\t": "tab-separated", ";": "CSV with semicolons", "|": "Markdown or pipes", ",": "CSV"}
_LONGEST_QUOTE = 20
_LONGEST_LEAD = 300
_RULE = re.compile(r"(?=.*-)[\s|:+=-]+")
_PIPE = re.compile(r"(?<!\\)\|")
_SENTENCE_END = ("?", ":", "!", "…")
_LEAD_IN = re.compile(r"(?P<prose>\S+(?:\s+\S+){2,}[?:!.])\s+(?P<name>[^?:!.]+)")


@dataclass(frozen=True, slots=True)
class Record:
    """The cells of one or more lines; `first` and `last` are the lines' places. A rule (---) has no cells."""

    cells: tuple[str, ...]
    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A table in lines of text: which lines it takes, and prose that stood before the header in its line."""

    grid: Grid
    first: int
    last: int
    prose: str = ""
    agreeing: int = 0


def in_lines(lines: Sequence[str]) -> Found | None:
    """The table among lines of prose that has the most rows agreeing with each other, or None."""
    found = [one for delimiter in _LAYOUTS for one in _runs(lines, delimiter)]
    return max(found, key=lambda one: one.agreeing, default=None) or _numbers_below_a_name(lines)


def whole(lines: Sequence[str], *, trusted: bool) -> Found | None:
    """The lines as one table, of one column if need be; `trusted` if they are a file and not prose."""
    best: Found | None = None
    for delimiter in _LAYOUTS:
        every = [record for record in _records(lines, delimiter) if record.cells]
        while len(every) > 1 and len(every[0].cells) == 1:
            every.pop(0)
        if not every:
            continue
        width, agreeing = Counter(len(record.cells) for record in every).most_common(1)[0]
        if width > 1 and agreeing * 2 >= len(every) and (best is None or agreeing > best.agreeing):
            best = _found(every, delimiter, agreeing)
    return best or in_lines(lines) or _one_column(lines, trusted=trusted)


def _records(lines: Sequence[str], delimiter: str) -> list[Record]:
    if delimiter == "|":
        return [_piped(line, place) for place, line in enumerate(lines)]
    try:
        return list(_read(lines, delimiter, csv.QUOTE_MINIMAL))
    except csv.Error:
        return list(_read(lines, delimiter, csv.QUOTE_NONE))


def _read(lines: Sequence[str], delimiter: str, quoting: Literal[0, 3]) -> Iterator[Record]:
    """Raises csv.Error where a quote is not closed within a few lines."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True, quoting=quoting)
    first = 0
    for cells in reader:
        last = reader.line_num - 1
        if last - first > _LONGEST_QUOTE:
            raise csv.Error
        text = lines[first]
        yield Record(() if _RULE.fullmatch(text) else tuple(cells), first, last, text)
        first = last + 1


def _piped(line: str, place: int) -> Record:
    text = line.strip()
    if not text or _RULE.fullmatch(text):
        return Record((), place, place, line)
    inner = text.removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    cells = (cell.strip().replace("\\|", "|") for cell in _PIPE.split(inner))
    return Record(tuple(_unmarked(cell) for cell in cells), place, place, line)


def _unmarked(cell: str) -> str:
    """The cell without quotes or Markdown's signs around all of it."""
    for mark in ("**", "`", '"'):
        if len(cell) > 2 * len(mark) and cell.startswith(mark) and cell.endswith(mark):
            return cell[len(mark) : -len(mark)]
    return cell


def _runs(lines: Sequence[str], delimiter: str) -> Iterator[Found]:
    records = _records(lines, delimiter)
    found = [one for run in _split(records, lines) if (one := _table(run, delimiter))]
    if not found:
        dense = [record for record in records if record.text.strip()]
        found = [one for run in _split(dense, lines) if (one := _table(run, delimiter))]
    yield from found


def _split(records: Sequence[Record], lines: Sequence[str]) -> Iterator[list[Record]]:
    """Stretches of records between blank lines and sentences; rules belong to their table."""
    run: list[Record] = []
    for record in records:
        blank = not lines[record.first].strip()
        if blank or (record.cells and _is_sentence(record)):
            if run:
                yield run
            run = []
        else:
            run.append(record)
    if run:
        yield run


def _is_sentence(record: Record) -> bool:
    text = record.text.strip()
    words = len(text.split())
    if len(record.cells) < 2:
        return words > 2 or text.endswith(_SENTENCE_END)
    return len(record.cells) < 6 and (
        text.endswith(_SENTENCE_END) or (words > 3 and text.endswith(".") and not text[-2:-1].isdigit())
    )


def _table(run: list[Record], delimiter: str) -> Found | None:
    ruled = any(not record.cells for record in run)
    rows = [record for record in run if record.cells]
    spaced = sum(", " in record.text for record in rows) * 2 > len(rows)
    while rows and _is_edge(rows[0], spaced=spaced):
        rows.pop(0)
    while rows and _is_edge(rows[-1], spaced=spaced):
        rows.pop()
    widths = Counter(len(record.cells) for record in rows if len(record.cells) > 1)
    if ruled and delimiter == "|" and rows and not widths:
        widths = Counter({1: len(rows)})
    if not widths:
        return None
    agreeing = widths.most_common(1)[0][1]
    if agreeing * 2 < len(rows) or not _plausible(rows, delimiter, spaced=spaced, ruled=ruled):
        return None
    return _found(rows, delimiter, agreeing)


def _is_edge(record: Record, *, spaced: bool) -> bool:
    """Whether a record at either end of a run is no row: one cell, or prose with a comma in it."""
    if len(record.cells) < 2:
        return "|" not in record.text
    longest = max(len(cell.split()) for cell in record.cells)
    return longest > 3 and ", " in record.text and not spaced


def _plausible(rows: Sequence[Record], delimiter: str, *, spaced: bool, ruled: bool) -> bool:
    """Whether these lines were meant as a table; commas in prose are what must not be taken for one."""
    if len(rows) == 1:
        cells = rows[0].cells
        named = all(clean(cell).replace("_", "").isalnum() for cell in cells)
        return (ruled and delimiter == "|") or (named and len(cells) > (2 if delimiter == "," else 1))
    if delimiter == "," and not any(char.isdigit() for record in rows for char in record.text):
        if rows[0].text.rstrip().endswith(","):
            return False
        return not spaced or (len(rows) > 2 and all(len(cell.split()) < 4 for record in rows for cell in record.cells))
    return True


def _found(rows: Sequence[Record], delimiter: str, agreeing: int) -> Found:
    head, *body = (list(record.cells) for record in rows)
    prose = ""
    if len(head[0]) < _LONGEST_LEAD and (lead := _LEAD_IN.fullmatch(head[0].strip())):
        prose, head[0] = lead["prose"], lead["name"]
    return Found(
        grid=grid([head, *body], _LAYOUTS[delimiter]),
        first=rows[0].first,
        last=rows[-1].last,
        prose=prose,
        agreeing=agreeing,
    )


def _numbers_below_a_name(lines: Sequence[str]) -> Found | None:
    """One column in prose: a short name, and at least two lines below it that are numbers or dates."""
    texts = [clean(line) for line in lines]
    values = [number(text) is not None or date(text) is not None for text in texts]
    for place, text in enumerate(texts[:-2]):
        if text and not values[place] and len(text.split()) < 5 and values[place + 1] and values[place + 2]:
            last = place + 1
            while last + 1 < len(texts) and (values[last + 1] or (is_missing(texts[last + 1]) and texts[last + 1])):
                last += 1
            name = text.rstrip(":")
            column = grid([[name], *([cell] for cell in texts[place + 1 : last + 1])], "one column")
            return Found(grid=column, first=place, last=last)
    return None


def _one_column(lines: Sequence[str], *, trusted: bool) -> Found | None:
    texts = [text for line in lines if (text := clean(line))]
    if len(texts) < 2 or (not trusted and any(len(text.split()) > 3 or set("(){}=;") & set(text) for text in texts)):
        return None
    # csv may have quoted the cells of a single column
    cells = next(iter(csv.reader([",".join(texts[:1])], skipinitialspace=True)), texts[:1])
    column = grid([cells, *([text.strip('"')] for text in texts[1:])], "one column")
    return replace(Found(grid=column, first=0, last=len(lines) - 1), agreeing=len(texts))
