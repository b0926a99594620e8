"""Finds the table that a message or its params hold, and what the message says besides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from agents.errors import ToolError
from agents.library import delimited, records
from agents.library.grids import Grid

NO_TABLE = (
    "I found no table in your message. Paste it as CSV, TSV, a Markdown table or a JSON list of records, "
    "with a header row."
)
_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[^\n]*\n(?P<body>.*?)(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, kw_only=True)
class Pasted:
    """A table as it was found: its cells, where from, and the prose beside it, which is the question."""

    grid: Grid
    question: str
    source: str


def find(message: str, params: Mapping[str, object]) -> Pasted:
    """The table in `params["table"]`, else the one in the message.

    Raises ToolError (an AgentError) `no_table` when there is none.
    """
    table = params.get("table")
    if table is None or table == "":
        return _in_message(_normal(message))
    found = _in_text(_normal(table)) if isinstance(table, str) else records.from_value(table)
    if found is None:
        raise ToolError("no_table", NO_TABLE)
    name = params.get("filename")
    return Pasted(grid=found, question=message.strip(), source=str(name) if name else "the table given with it")


def _normal(text: str) -> str:
    """The text with plain line ends and without byte order marks and NULs."""
    text = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\ufeff", "").replace("\u2028", "\n").replace("\0", "")


def _in_text(text: str) -> Grid | None:
    """The table that a file is; prose beside it is nobody's question."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{"):
        try:
            value = json.loads(stripped)
        except (ValueError, RecursionError):
            found = records.in_text(stripped)
            return found[0] if found else None
        return records.from_value(value)
    for body in _fenced(text):
        return _in_text(body.group("body"))
    table = delimited.whole(text.split("\n"), trusted=True)
    return table.grid if table else None


def _in_message(message: str) -> Pasted:
    fenced = list(_in_fences(message))
    if fenced:
        best = max(fenced, key=lambda pasted: len(pasted.grid.rows) * len(pasted.grid.names))
        return best if len(fenced) == 1 else replace(best, grid=_one_of(best.grid, len(fenced)))
    if in_json := records.in_text(message):
        found, (start, end) = in_json
        return Pasted(grid=found, question=f"{message[:start]}\n{message[end:]}".strip(), source="your message")
    lines = message.split("\n")
    table = delimited.in_lines(lines)
    if table is None:
        raise ToolError("no_table", NO_TABLE)
    prose = [*lines[: table.first], table.prose, *lines[table.last + 1 :]]
    return Pasted(grid=table.grid, question="\n".join(prose).strip(), source="your message")


def _in_fences(message: str) -> Iterator[Pasted]:
    for block in _fenced(message):
        body = block["body"]
        if in_json := records.in_text(body):
            found: Grid | None = in_json[0]
        else:
            table = delimited.whole(body.split("\n"), trusted=False)
            found = table.grid if table else None
        if found:
            rest = f"{message[: block.start()]}\n{message[block.end() :]}"
            yield Pasted(grid=found, question=rest.strip(), source="your message")


def _fenced(text: str) -> Iterator[re.Match[str]]:
    return _FENCE.finditer(text)


def _one_of(found: Grid, count: int) -> Grid:
    return replace(found, warnings=(*found.warnings, f"Your message has {count} tables; I read the largest."))
