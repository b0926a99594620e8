"""A run as a Gantt chart: when it was in which phase, which tools it called, and when nothing was heard of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import msgspec

from netra.console.words import spell

STAGES: Final = {
    "created": "Queued",
    "websocket_setup": "Set-up",
    "context_validation": "Set-up",
    "starting": "Set-up",
    "thinking": "Thinking",
    "tool_preparation": "Tools",
    "tool_execution": "Tools",
    "llm_interaction": "Writing",
    "awaiting_approval": "Approval",
    "result_processing": "Finishing",
    "completing": "Finishing",
}
"""The lane of each phase that takes time."""
TOOL_LANES: Final = 12
SILENCE: Final = timedelta(seconds=2)
"""The shortest gap that is drawn, if it is also a twentieth of the whole."""


class Step(msgspec.Struct, frozen=True):
    """A transition."""

    to_phase: str
    at: datetime


class Call(msgspec.Struct, kw_only=True):
    """A tool call; `ended_at` None: it is open, or its end is not drawn."""

    name: str
    began_at: datetime
    ended_at: datetime | None = None
    status: str = "running"


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What the chart is drawn of, all in order. `unread`: a time of which steps and events were not read, if any."""

    created_at: datetime
    ended_at: datetime | None
    now: datetime
    steps: Sequence[Step]
    heard: Sequence[datetime]
    """When there was an event."""
    calls: Sequence[Call]
    recoveries: Sequence[tuple[int, datetime]]
    """Each later attempt, and when it began."""
    unread: tuple[datetime, datetime] | None = None


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """`left` and `width` in percent of the chart; `kind` is what colours it."""

    left: float
    width: float
    kind: str
    title: str


class Lane(msgspec.Struct, frozen=True):
    name: str
    bars: list[Bar]


class Tick(msgspec.Struct, frozen=True):
    left: float
    label: str


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    lanes: list[Lane]
    ticks: list[Tick]
    words: str


class _Scale(msgspec.Struct, frozen=True):
    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return max(0.001, (self.end - self.begin).total_seconds())

    def bar(self, begin: datetime, end: datetime, kind: str, what: str) -> Bar:
        left = min(100.0, max(0.0, 100 * (begin - self.begin).total_seconds() / self.seconds))
        right = min(100.0, max(left, 100 * (end - self.begin).total_seconds() / self.seconds))
        title = f"{what}: {spell((end - begin).total_seconds())}, from {spell((begin - self.begin).total_seconds())} on"
        return Bar(left=round(left, 3), width=round(right - left, 3), kind=kind, title=title)


def draw(story: Story) -> Timeline:
    end = story.ended_at or story.now
    scale = _Scale(story.created_at, max(end, story.created_at))
    lanes = [*_stages(story, scale), *_tools(story, scale), *_silences(story, scale), *_attempts(story, scale)]
    if story.unread is not None:
        bar = scale.bar(*story.unread, "unread", "Too much to draw")
        lanes = [Lane(lane.name, [*lane.bars, bar]) for lane in lanes]
    words = f"{spell(scale.seconds)} from its start to {'its end' if story.ended_at else 'now'}"
    return Timeline(lanes=lanes, ticks=_ticks(scale.seconds), words=words)


def _stages(story: Story, scale: _Scale) -> Iterable[Lane]:
    bars: dict[str, list[Bar]] = {}
    phases = [("created", story.created_at), *((step.to_phase, step.at) for step in story.steps)]
    for (phase, begin), (_, end) in zip(phases, [*phases[1:], ("", scale.end)], strict=True):
        stage = STAGES.get(phase)
        if stage is not None and not _is_unread(story, begin, end):
            bars.setdefault(stage, []).append(scale.bar(begin, end, stage.lower(), phase.replace("_", " ")))
    return [Lane(stage, bars[stage]) for stage in dict.fromkeys(STAGES.values()) if stage in bars]


def _is_unread(story: Story, begin: datetime, end: datetime) -> bool:
    return story.unread is not None and begin <= story.unread[0] and end >= story.unread[1]


def _tools(story: Story, scale: _Scale) -> Iterable[Lane]:
    bars: dict[str, list[Bar]] = {}
    for call in story.calls:
        name = call.name if call.name in bars or len(bars) < TOOL_LANES else "other tools"
        bar = scale.bar(
            call.began_at, call.ended_at or scale.end, f"call-{call.status}", f"{call.name} ({call.status})"
        )
        bars.setdefault(name, []).append(bar)
    return [Lane(name, found) for name, found in bars.items()]


def _silences(story: Story, scale: _Scale) -> Iterable[Lane]:
    """When the user's chat did not move."""
    least = max(SILENCE, timedelta(seconds=scale.seconds / 20))
    moments = [story.created_at, *story.heard, scale.end]
    bars = [
        scale.bar(begin, end, "silence", "No event")
        for begin, end in pairwise(moments)
        if end - begin >= least and not _is_unread(story, begin, end)
    ]
    return [Lane("Silence", bars)] if bars else []


def _attempts(story: Story, scale: _Scale) -> Iterable[Lane]:
    if not story.recoveries:
        return []
    begins = [(1, story.created_at), *story.recoveries]
    ends = [at for _, at in begins[1:]] + [scale.end]
    bars = [
        scale.bar(begin, end, f"attempt-{number % 2}", f"Attempt {number}")
        for (number, begin), end in zip(begins, ends, strict=True)
    ]
    return [Lane("Attempts", bars)]


def _ticks(seconds: float) -> list[Tick]:
    """Four to nine round moments."""
    step = next(size for size in _sizes() if seconds / size < 9)
    return [Tick(round(100 * number * step / seconds, 3), _moment(number * step)) for number in range(9)][
        : int(seconds / step) + 1
    ]


def _sizes() -> Iterable[float]:
    yield from (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800)
    hours = 3_600.0
    while True:
        yield hours
        hours *= 2


def _moment(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{seconds * 1000:g} ms"
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7_200 else f"{seconds / 3_600:g} h"


def calls_of(told: Iterable[tuple[str, datetime, dict[str, Any]]]) -> list[Call]:
    """From the types, times and data of tool events, in order."""
    calls: dict[str, Call] = {}
    for type_, at, data in told:
        if type_ == "tool_executing":
            calls[data["tool_call_id"]] = Call(name=data["tool_name"], began_at=at)
        elif (call := calls.get(data["tool_call_id"])) is not None:
            call.ended_at, call.status = at, data["status"]
    return list(calls.values())
