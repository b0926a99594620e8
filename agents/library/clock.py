"""What day and time it is, and how far days are apart."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from agents.errors import ToolError
from agents.tools import tool


@tool
def current_time(zone: str = "UTC") -> str:
    """Tells the date, weekday and time now, in a time zone such as Europe/Berlin."""
    return f"It is {datetime.now(UTC).astimezone(_zone(zone)):%A, %-d %B %Y, %H:%M} ({zone})."


@tool
def days_between(first: date, second: date) -> str:
    """Counts the days from one date (2026-12-24) to another, and tells their weekdays."""
    days = (second - first).days
    unit = "day" if abs(days) == 1 else "days"
    return f"From {_said(first)}, to {_said(second)}: {days:,} {unit}."


def _said(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ToolError(
            "bad_zone", f"I know no time zone called {name[:60]!r}. One is called Europe/Berlin."
        ) from error
