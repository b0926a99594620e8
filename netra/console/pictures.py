"""The dashboard's figures as its template shows them: with their pictures, and links into the filtered list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString

from agents.phases import Status
from netra.console.charts import Part, span_bar, sparkline, stacked_bar
from netra.console.dashboard import AGES, Dashboard, ReasonCount, Waiting
from netra.console.pace import RATE_MINUTES, Durations
from netra.console.words import spell

AGE_WORDS: Final = {"10s": "10 s", "1m": "1 min", "5m": "5 min", "1h": "1 h"}


def shown(dashboard: Dashboard) -> dict[str, Any]:
    """What the template needs beside the figures."""
    rates = dashboard.rates
    now = rates[-1] if rates else 0.0
    return {
        "dashboard": dashboard,
        "frozen_link": link(reason="frozen"),
        "lacking_link": link(agent_completed="lacking"),
        "queued": next((each.count for each in dashboard.waiting.reasons if each.reason == "queued"), 0),
        "rate": f"{now:,.1f}" if now < 10 else f"{now:,.0f}",
        "rate_line": sparkline(rates, f"Events per second over {RATE_MINUTES} minutes, {now:.1f} now"),
        "rate_most": f"{max(rates, default=0):,.0f}",
        "waiting_bar": _waiting_bar(dashboard.waiting),
        "waiting_rows": [_waiting_row(each) for each in dashboard.waiting.reasons],
        "ages": [f"> {AGE_WORDS[age]}" for age in AGES if age],
        "outcomes": [
            ("Last hour", _total(dashboard.outcomes.hour), _outcome_bar("Last hour", dashboard.outcomes.hour)),
            ("Last day", _total(dashboard.outcomes.day), _outcome_bar("Last day", dashboard.outcomes.day)),
        ],
        "outcome_rows": [
            (
                status.value,
                status.replace("_", " "),
                link(status=status.value, age="under-1d"),
                _grouped(dashboard.outcomes.hour[status]),
                _grouped(count),
            )
            for status, count in dashboard.outcomes.day.items()
        ],
        "agents": _duration_rows(dashboard.agents),
        "phases": _duration_rows(dashboard.phases),
    }


def link(**filters: str) -> str:
    return f"{reverse('admin:agents_agentexecution_changelist')}?{urlencode(filters)}"


def _waiting_bar(waiting: Waiting) -> SafeString:
    parts = [Part(each.reason.value, each.reason.label, each.count) for each in waiting.reasons]
    return stacked_bar(parts, "Runs that lack agent_completed")


def _waiting_row(each: ReasonCount) -> dict[str, Any]:
    cells = [
        (_grouped(count), link(reason=each.reason.value, **({"age": f"over-{age}"} if age else {})))
        for count, age in zip(each.ages, AGES, strict=True)
    ]
    return {"reason": each.reason, "cells": cells, "frozen": each.frozen}


def _total(counts: Mapping[Status, int]) -> str:
    return f"{sum(counts.values()):,}"


def _grouped(count: int) -> str:
    """Empty for none."""
    return f"{count:,}" if count else ""


def _outcome_bar(label: str, counts: Mapping[Status, int]) -> SafeString:
    return stacked_bar([Part(status.value, status.replace("_", " "), count) for status, count in counts.items()], label)


def _duration_rows(all_: Sequence[Durations]) -> list[dict[str, Any]]:
    most = max((each.p95 for each in all_), default=0.0)
    return [
        {
            "name": each.name,
            "count": each.count,
            "p50": spell_short(each.p50),
            "p95": spell_short(each.p95),
            "bar": span_bar(each.p50, each.p95, most, f"{each.name}: half within {spell_short(each.p50)}"),
        }
        for each in all_
    ]


def spell_short(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else spell(seconds)
