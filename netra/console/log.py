"""A run's events, a page at a time by their seq, however many there are; and what its timeline is drawn of."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import msgspec
from django.http import QueryDict
from django.utils import timezone

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition
from netra.console.timeline import Step, Story, Timeline, calls_of, draw
from netra.console.veil import veiled_data

EVENTS_ON_A_PAGE: Final = 50
DATA_CHARACTERS: Final = 300
FRAME_CHARACTERS: Final = 4_000
"""As much of a frame as is on the page; the whole of it has an address."""
READ_STEPS: Final = 300
READ_EVENTS: Final = 1_000
"""Of the transitions and of the events, the first and the last so many are drawn."""
TYPES: Final = (
    *("agent_started", "agent_thinking", "tool_executing", "tool_progress", "tool_completed", "partial_result"),
    *("approval_requested", "approval_resolved", "run_recovered", "agent_completed"),
)


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A row; `frame` is empty for who may not see contents. `since` is the time since the run was made."""

    seq: int
    type: str
    at: datetime
    since: str
    size: int
    data: str
    frame: str
    is_cut: bool


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """`earlier` and `later` are queries of the pages beside this one; `is_live`: new events belong at its end."""

    events: list[EventView]
    type: str
    at: str
    earlier: str
    later: str
    first: str
    latest: str
    is_live: bool


def read_page(run: AgentExecution, query: QueryDict, *, content: bool) -> EventPage:
    """The latest events, or those before or after a seq; of one type, if it is said. One query."""
    type_ = query.get("type", "")
    after, before = _number(query.get("after")), _number(query.get("before"))
    rows = ExecutionEvent.objects.filter(execution=run)
    if type_ in TYPES:
        rows = rows.filter(type=type_)
    if after is not None:
        found = list(rows.filter(seq__gt=after).order_by("seq")[: EVENTS_ON_A_PAGE + 1])
        page, has_later, has_earlier = found[:EVENTS_ON_A_PAGE], len(found) > EVENTS_ON_A_PAGE, after > 0
    else:
        rows = rows if before is None else rows.filter(seq__lt=before)
        found = list(rows.order_by("-seq")[: EVENTS_ON_A_PAGE + 1])
        page = found[:EVENTS_ON_A_PAGE][::-1]
        has_later, has_earlier = before is not None, len(found) > EVENTS_ON_A_PAGE
    keep = f"type={type_}&" if type_ in TYPES else ""
    return EventPage(
        events=[view_of(event, run, content=content) for event in page],
        type=type_ if type_ in TYPES else "",
        at="" if after is None else str(after + 1),
        earlier=f"?{keep}before={page[0].seq}" if has_earlier and page else "",
        later=f"?{keep}after={page[-1].seq}" if has_later and page else "",
        first=f"?{keep}after=0" if has_earlier else "",
        latest=f"?{keep}" if has_later else "",
        is_live=run.completed_at is None and not has_later and type_ not in TYPES,
    )


def view_of(event: ExecutionEvent, run: AgentExecution, *, content: bool) -> EventView:
    data = msgspec.json.decode(event.frame)["data"]
    text = json.dumps(data if content else veiled_data(data), ensure_ascii=False)
    return EventView(
        seq=event.seq,
        type=event.type,
        at=event.at,
        since=f"+{(event.at - run.created_at).total_seconds():,.3f} s",
        size=len(event.frame.encode()),
        data=text if len(text) <= DATA_CHARACTERS else f"{text[:DATA_CHARACTERS]}…",
        frame=event.frame[:FRAME_CHARACTERS] if content else "",
        is_cut=len(event.frame) > FRAME_CHARACTERS,
    )


def read_timeline(run: AgentExecution, *, content: bool) -> Timeline:
    """At most six queries, and at most so much of the log, however long it is."""
    steps, skipped = _ends_of(PhaseTransition.objects.filter(execution=run), "ordinal", run.phase_count, READ_STEPS)
    events, unread = _ends_of(ExecutionEvent.objects.filter(execution=run), "seq", run.last_seq, READ_EVENTS)
    seqs = [event.seq for event in events if event.type in {"tool_executing", "tool_completed", "run_recovered"}]
    told = [
        (type_, at, msgspec.json.decode(frame)["data"])
        for type_, at, frame in ExecutionEvent.objects.filter(execution=run, seq__in=seqs)
        .order_by("seq")
        .values_list("type", "at", "frame")
    ]
    calls = calls_of((type_, at, data) for type_, at, data in told if type_ != "run_recovered")
    if not content:
        for call in calls:
            call.name = "Tool calls"
    gaps = [gap for gap in (skipped, unread) if gap is not None]
    return draw(
        Story(
            created_at=run.created_at,
            ended_at=run.completed_at,
            now=timezone.now(),
            steps=[Step(step.to_phase, step.at) for step in steps],
            heard=[event.at for event in events],
            calls=calls,
            recoveries=[(data["attempt"], at) for type_, at, data in told if type_ == "run_recovered"],
            unread=(min(gap[0] for gap in gaps), max(gap[1] for gap in gaps)) if gaps else None,
        )
    )


def _ends_of(rows: Any, number: str, last: int, most: int) -> tuple[list[Any], tuple[datetime, datetime] | None]:
    """The first and the last `most` of a run's numbered rows, and the time between the two if they do not meet."""
    if rows.model is ExecutionEvent:
        rows = rows.only("seq", "type", "at")
    first = list(rows.filter(**{f"{number}__lte": most}).order_by(number))
    if last <= most:
        return first, None
    rest = list(rows.filter(**{f"{number}__gt": max(most, last - most)}).order_by(number))
    if last <= 2 * most or not first or not rest:
        return first + rest, None
    return first + rest, (first[-1].at, rest[0].at)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
