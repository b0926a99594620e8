"""Tables in JSON: records, lists, {"columns": …, "rows": …}, columns by name, or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from agents.library.grids import Grid, grid

T = TypeVar("T")

_DECODER = json.JSONDecoder()
_ATTEMPTS = 20


def from_value(value: object) -> Grid | None:
    """The table that a decoded JSON value holds, or None."""
    records = _records(value)
    if records is None and isinstance(value, dict):
        inner = [found for cells in value.values() if isinstance(cells, list) and (found := from_value(cells))]
        return inner[0] if len(inner) == 1 else None
    if records is None or not records[0]:
        return None
    texts = [[cell_text(cell) for cell in record] for record in records]
    return replace(grid(texts, "JSON"), exact_numbers=True)


def _records(value: object) -> list[list[object]] | None:
    """The header and the rows that a value holds in one of the usual forms, or None."""
    match value:
        case {"columns": [*columns], "rows": [*rows]} | {"columns": [*columns], "data": [*rows]}:
            return _framed(columns, rows)
        case [*rows] if rows and (mappings := _all(rows, dict)):
            return _from_mappings(mappings)
        case [[_, *_], *_] if lists := _all(value, list):
            return lists
        case dict() as columns if columns and all(isinstance(cells, list) for cells in columns.values()):
            return None if _one_list_of_records(columns) else _from_columns(columns)
        case _:
            return None


def _all(rows: Sequence[object], form: type[T]) -> list[T] | None:
    """The rows, if all of them have this form."""
    found = [row for row in rows if isinstance(row, form)]
    return found if len(found) == len(rows) else None


def _one_list_of_records(columns: Mapping[str, list[object]]) -> bool:
    """Whether this only wraps records: {"data": [{…}, …]}."""
    return len(columns) == 1 and any(isinstance(cell, dict | list) for cell in next(iter(columns.values())))


def in_text(text: str) -> tuple[Grid, tuple[int, int]] | None:
    """The first JSON table in a text, with where it starts and ends."""
    starts = [place for place, char in enumerate(text) if char in "[{"]
    attempts, end = 0, 0
    for start in starts:
        if start < end:
            continue
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            attempts += 1
            if attempts == _ATTEMPTS:
                return None
            continue
        if isinstance(value, dict) and (lines := _lines(text, start, value)):
            value, end = lines
        if found := from_value(value):
            return found, (start, end)
    return None


def cell_text(cell: object) -> str:
    """The cell as it would stand in a CSV."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            return cell
        case int() | float():
            return repr(cell)
        case _:
            return json.dumps(cell, ensure_ascii=False, default=str)


def _lines(text: str, start: int, first: dict[str, object]) -> tuple[list[object], int] | None:
    """JSON lines: the objects that follow one another from `start`, blanks or a comma between them."""
    rows: list[object] = [first]
    _, end = _DECODER.raw_decode(text, start)
    while True:
        after = end
        while after < len(text) and text[after] in " \t\r\n,":
            after += 1
        if after == len(text) or text[after] != "{":
            break
        try:
            row, end = _DECODER.raw_decode(text, after)
        except (ValueError, RecursionError):
            break
        rows.append(row)
    return (rows, end) if len(rows) > 1 or _flat(first) else None


def _flat(record: Mapping[str, object]) -> bool:
    return bool(record) and not any(isinstance(value, list | dict) for value in record.values())


def _framed(columns: Sequence[object], rows: Sequence[object]) -> list[list[object]]:
    body = [
        [row.get(str(name)) for name in columns] if isinstance(row, Mapping) else list(row)
        for row in rows
        if isinstance(row, Mapping | list | tuple)
    ]
    return [list(columns), *body]


def _from_mappings(rows: Sequence[Mapping[str, object]]) -> list[list[object]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [list(names), *([row.get(name) for name in names] for row in rows)]


def _from_columns(columns: Mapping[str, list[object]]) -> list[list[object]]:
    height = max(map(len, columns.values()))
    padded = [[*cells, *[None] * (height - len(cells))] for cells in columns.values()]
    return [list(columns), *map(list, zip(*padded, strict=True))]
