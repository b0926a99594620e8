"""Shows a run's events to a person at a terminal: a line each, the answer as it streams, and what goes on now."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from typing import Any, Final, Protocol

from notifications.cursors import Frame

ARGUMENT_CHARACTERS: Final = 60
LINE_CHARACTERS: Final = 400
CLEAR_LINE: Final = "\r\x1b[K"

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What agents and tools say is untrusted: it must not steer the terminal. Line feeds and tabs stay."""


class Output(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class Terminal:
    """`now` tells the time in seconds; the status line is shown only if `has_status`."""

    def __init__(self, out: Output, *, has_status: bool, now: Callable[[], float]) -> None:
        self._out = out
        self._has_status = has_status
        self._now = now
        self._since = now()
        self._status = ""
        self._doing = "waiting for the agent"
        self._calls: dict[str, Frame] = {}
        self._streamed = False
        self._in_line = False

    def accepted(self, frame: Frame) -> None:
        if position := frame.get("queue_position"):
            self._line(f"… {position} of your runs come first")

    def show(self, event: Frame) -> None:
        """Takes in the run's next event; types of later versions are passed over."""
        show = self._SHOW.get(event["type"])
        if show is not None:
            self._clear_status()
            show(self, event, event.get("data", {}))
            self._since = self._now()
        self._out.flush()

    def tick(self, state: str) -> None:
        """Draws the status line anew; `state` is the connection's."""
        if not self._has_status or self._in_line:
            return
        doing = self._doing if state == "live" else f"{self._doing}; the connection is {state.replace('_', ' ')}"
        text = f"  {doing} · {self._now() - self._since:.0f} s"[: shutil.get_terminal_size().columns - 1]
        if text != self._status:
            self._status = text
            self._out.write(f"{CLEAR_LINE}{text}")
            self._out.flush()

    def note(self, text: str) -> None:
        """A line about something that is no event."""
        self._clear_status()
        self._line(text)
        self._out.flush()

    def _clear_status(self) -> None:
        if self._status:
            self._out.write(CLEAR_LINE)
            self._status = ""

    def _line(self, text: str) -> None:
        if self._in_line:
            self._out.write("\n")
            self._in_line = False
        self._out.write(f"{text}\n")

    def _started(self, event: Frame, data: Frame) -> None:
        again = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
        limit = f"at most {data['timeout']:g} s"
        self._line(f"● {event['agent_name']} started{again} ({limit}) · {event['run_id']} · {event['thread_id']}")
        self._doing = "started"

    def _thinking(self, _: Frame, data: Frame) -> None:
        step = f"{data['step_number']}/{data['total_steps']}" if "total_steps" in data else str(data["step_number"])
        self._line(f"· {step} {one_line(data['reasoning'])}")
        self._doing = "thinking"

    def _tool_executing(self, _: Frame, data: Frame) -> None:
        self._calls[data["tool_call_id"]] = data
        self._doing = f"running {one_line(data['tool_name'])}"

    def _tool_progress(self, _: Frame, data: Frame) -> None:
        self._doing = one_line(data["message"])

    def _tool_completed(self, _: Frame, data: Frame) -> None:
        call = self._calls.pop(data["tool_call_id"], data)
        sign = "✓" if data["status"] == "success" else "✗"
        problem = f": {one_line(data['error']['message'])}" if "error" in data else ""
        arguments = compact(call.get("arguments", {}))
        duration = readable_duration(data["duration_ms"])
        self._line(f"{sign} {one_line(data['tool_name'])}({arguments}) {data['status']}, {duration}{problem}")
        self._doing = "working"

    def _partial_result(self, _: Frame, data: Frame) -> None:
        delta = printable(data["delta"])
        if delta:
            self._streamed = True
            self._out.write(delta)
            self._in_line = not delta.endswith("\n")
        self._doing = "writing"

    def _recovered(self, _: Frame, data: Frame) -> None:
        self._line(f"● taken over by another worker, attempt {data['attempt']}: {one_line(data['reason'])}")

    def _completed(self, _: Frame, data: Frame) -> None:
        result, error = data["result"], data["error"]
        if result["output"] is not None and not self._streamed:
            output = result["output"]
            self._line(
                printable(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2))
            )
        for warning in result["warnings"]:
            self._line(f"! {one_line(warning)}")
        problem = f": {one_line(error['message'])} ({error['code']})" if error else ""
        sign = "●" if data["status"] == "completed" else "✗"
        took = readable_duration(data["execution_time_ms"])
        self._line(f"{sign} {data['status'].replace('_', ' ')} after {took}{problem}")

    def _gap(self, event: Frame, _: Frame) -> None:
        self._line(f"… events {event['missed_from']} to {event['missed_to']} are no longer kept")

    _SHOW: Final[dict[str, Callable[[Terminal, Frame, Frame], None]]] = {
        "agent_started": _started,
        "agent_thinking": _thinking,
        "tool_executing": _tool_executing,
        "tool_progress": _tool_progress,
        "tool_completed": _tool_completed,
        "partial_result": _partial_result,
        "run_recovered": _recovered,
        "agent_completed": _completed,
        "gap": _gap,
    }


def printable(text: str) -> str:
    return _UNPRINTABLE.sub("", text)


def one_line(text: str) -> str:
    line = " ".join(printable(text.replace("\r", " ")).split())
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"


def compact(arguments: dict[str, Any]) -> str:
    """Such as `limit=60, source="params"`, each value cut where it gets long."""
    parts = []
    for name, value in arguments.items():
        text = one_line(json.dumps(value, ensure_ascii=False))
        cut = text if len(text) <= ARGUMENT_CHARACTERS else f"{text[: ARGUMENT_CHARACTERS - 1]}…"
        parts.append(f"{one_line(name)}={cut}")
    return one_line(", ".join(parts))


def readable_duration(milliseconds: float) -> str:
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1f} ms"
    minutes, seconds = divmod(milliseconds / 1_000, 60)
    return f"{minutes:.0f} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
