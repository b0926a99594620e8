"""What happened in one run: its phases and its events."""

from __future__ import annotations

import json

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.models import AgentExecution
from netra.console.readonly import table

SHOWN_EVENTS = 500
"""Events on a run's page: the first and the last half of so many."""


def phase_table(run: AgentExecution) -> SafeString:
    rows = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} ms</td><td>{}</td></tr>",
        (
            (
                step.ordinal,
                f"{step.at:%H:%M:%S.%f}",
                step.from_phase,
                step.to_phase,
                f"{step.duration_ms:,.1f}",
                step.event_seq or "",
            )
            for step in run.transitions.all()
        ),
    )
    return table(("", "at", "from", "to", "spent in from", "event"), rows)


def event_table(run: AgentExecution) -> SafeString:
    events = run.events.order_by("seq")
    half = SHOWN_EVENTS // 2
    shown = list(events[:half]) + list(events.filter(seq__gt=max(half, run.last_seq - half)))
    rows = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
        ((event.seq, f"{event.at:%H:%M:%S.%f}", event.type, _data_of(event.frame)) for event in shown),
    )
    rows_shown = table(("seq", "at", "type", "data"), rows)
    left_out = run.last_seq - len(shown)
    if left_out <= 0:
        return rows_shown
    return format_html("{}<p>{:,} events in the middle are not shown.</p>", rows_shown, left_out)


def _data_of(frame: str) -> str:
    text = json.dumps(msgspec.json.decode(frame)["data"], ensure_ascii=False)
    return text if len(text) <= 1_000 else f"{text[:1_000]}… ({len(text):,} characters)"
