"""Runs as a file: JSON Lines with their events, or CSV with a row a run. Streamed, a page of the database at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from agents.database import in_database
from agents.interventions import Operator, Outcome
from agents.models import AgentExecution, ExecutionEvent
from agents.redaction import redact

FORMATS: Final = (("jsonl", "JSON Lines: the runs and their events"), ("csv", "CSV: a row for each run"))
RUNS_AT_ONCE: Final = 200
EVENTS_AT_ONCE: Final = 500
NAMED: Final = 50
"""Runs that the audit trail names one by one."""
RISKY: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of a cell that a spreadsheet takes for a formula; the last four are the first in full width."""

_COLUMNS: Final = (
    *("run_id", "status", "phase", "agent_name", "attempt", "owner", "tier", "timeout", "correlation_id"),
    *("last_seq", "phase_count", "error_code", "created_at", "started_at", "completed_at", "cancel_requested_at"),
)
_OTHERS: Final = ("user", "thread_id", "parent_run_id")
_SAID: Final = ("request", "result", "error_message", "warnings")
"""What a run says, for who may see it."""
_encode: Final = msgspec.json.Encoder().encode


def export(
    runs: QuerySet[Any], operator: Operator, format_: str, *, content: bool, where: str | None
) -> StreamingHttpResponse:
    """`where`: the query of the list whose runs these are, if it is all of them."""
    _note(runs, operator, format_, content=content, where=where)
    lines, kind = (_json_lines, "application/x-ndjson") if format_ == "jsonl" else (_csv, "text/csv")
    response = StreamingHttpResponse(lines(runs, content=content), content_type=f"{kind}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="runs-{timezone.now():%Y%m%d-%H%M%S}.{format_}"'
    return response


def _note(runs: QuerySet[Any], operator: Operator, format_: str, *, content: bool, where: str | None) -> None:
    few = list(runs.order_by("pk").values_list("run_id", flat=True)[: NAMED + 1])
    named = f"{', '.join(few[:NAMED])}{' and others' if len(few) > NAMED else ''}"
    what = named if where is None else f"All runs of the list ({where or 'unfiltered'})"
    outcome = Outcome(True, f"{what}, as {format_}, {'with' if content else 'without'} contents.")
    operator.note("export", few[0] if len(few) == 1 else "", outcome)


async def _pages(runs: QuerySet[Any]) -> AsyncIterator[list[AgentExecution]]:
    rows = runs.select_related("user", "thread", "parent").order_by("pk")
    last = 0
    while page := await in_database(lambda after: list(rows.filter(pk__gt=after)[:RUNS_AT_ONCE]), last):
        yield page
        last = page[-1].pk


async def _csv(runs: QuerySet[Any], *, content: bool) -> AsyncIterator[str]:
    yield _row([*_COLUMNS, *_OTHERS, *(_SAID if content else ())])
    async for page in _pages(runs):
        yield "".join(_row(map(_cell, _record(run, content=content).values())) for run in page)


async def _json_lines(runs: QuerySet[Any], *, content: bool) -> AsyncIterator[bytes]:
    async for page in _pages(runs):
        for run in page:
            yield _encode({"kind": "run", **_record(run, content=content)}) + b"\n"
            last = 0
            while events := await in_database(_read_events, run.pk, last):
                yield b"".join(_line(run.run_id, event, content=content) for event in events)
                last = events[-1][0]


def _read_events(pk: int, after: int) -> list[tuple[int, str, datetime, str]]:
    events = ExecutionEvent.objects.filter(execution_id=pk, seq__gt=after).order_by("seq")
    return list(events.values_list("seq", "type", "at", "frame")[:EVENTS_AT_ONCE])


def _line(run_id: str, event: tuple[int, str, datetime, str], *, content: bool) -> bytes:
    seq, type_, at, frame = event
    line: dict[str, Any] = {"kind": "event", "run_id": run_id, "seq": seq, "type": type_, "at": at}
    line["bytes"] = len(frame.encode())
    if content:
        line["frame"] = msgspec.Raw(frame.encode())
    return _encode(line) + b"\n"


def _record(run: AgentExecution, *, content: bool) -> dict[str, Any]:
    record = {name: getattr(run, name) for name in _COLUMNS}
    record["user"] = run.user.get_username()
    record["thread_id"] = run.thread.thread_id
    record["parent_run_id"] = run.parent.run_id if run.parent else None
    if content:
        record["request"] = redact(msgspec.json.decode(run.request))
        record["result"] = msgspec.json.decode(run.result) if run.result else None
        record["error_message"] = run.error_message
        record["warnings"] = run.warnings
    return record


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else _encode(value).decode()
    return f"'{text}" if text.startswith(RISKY) else text


def _row(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
