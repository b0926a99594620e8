"""Shows a run's events to a person: a line each, the answer as it streams, and at a terminal what goes on now."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from typing import Any, Final, Protocol

from notifications.cursors import Frame
from notifications.terminal_markdown import Blocks, draw

ARGUMENT_CHARACTERS: Final = 60
LINE_CHARACTERS: Final = 400
CLEAR_LINE: Final = "\r\x1b[K"
PLAIN, BOLD, FAINT = "\x1b[0m", "\x1b[1m", "\x1b[2m"
RED, GREEN, YELLOW = "\x1b[31m", "\x1b[32m", "\x1b[33m"
ENDED: Final = frozenset({"completed", "failed", "timed_out", "cancelled", "lost"})

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What agents and tools say is untrusted: it must not steer the terminal. Line feeds and tabs stay."""


class Output(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class Terminal:
    """`now` tells the time in seconds. Only a terminal gets a status line, colours and drawn Markdown: what goes into a
    file or to another program is the text as it came. `unfolds` shows tool calls with arguments and results, whole."""

    def __init__(
        self,
        out: Output,
        *,
        is_terminal: bool,
        now: Callable[[], float],
        has_colours: bool = False,
        unfolds: bool = False,
    ) -> None:
        self._out = out
        self._is_terminal = is_terminal
        self._has_colours = has_colours
        self._unfolds = unfolds
        self._now = now
        self._blocks = Blocks()
        self._since = now()
        self._status = ""
        self._doing = "waiting for the agent"
        self._calls: dict[str, Frame] = {}
        self._streamed = False
        self._in_line = False
        self._prompt = ""

    def accepted(self, frame: Frame) -> None:
        if position := frame.get("queue_position"):
            self._line(f"… {position} of your runs come first")

    def show(self, event: Frame) -> None:
        """Takes in the run's next event; types of later versions are passed over."""
        show = self._SHOW.get(event["type"])
        if show is not None:
            self._clear_status()
            if self._prompt:
                self._out.write("\n")
            show(self, event, event.get("data", {}))
            self._out.write(self._prompt)
            self._since = self._now()
        self._out.flush()

    def prompt(self, question: str) -> None:
        """Asks at the terminal, below whatever is shown meanwhile; "" withdraws what was asked."""
        self._clear_status()
        if self._in_line or (self._prompt and not question):
            self._line("")
        self._prompt = printable(question)
        self._out.write(self._prompt)
        self._out.flush()

    def typed(self) -> None:
        """The person has answered what was asked, and gone to the next line."""
        self._prompt = ""

    def tick(self, state: str) -> None:
        """Draws the status line anew; `state` is the connection's."""
        if not self._is_terminal or self._in_line or self._prompt:
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
        if self._prompt:
            self._out.write("\n")
        self._line(text)
        self._out.write(self._prompt)
        self._out.flush()

    def _clear_status(self) -> None:
        if self._status:
            self._out.write(CLEAR_LINE)
            self._status = ""

    def _line(self, text: str, colour: str = "") -> None:
        if self._in_line:
            self._out.write("\n")
            self._in_line = False
        self._out.write(f"{colour}{text}{PLAIN}\n" if colour and self._has_colours else f"{text}\n")

    def _answer(self, delta: str) -> None:
        """At a terminal, each block once it is whole: what is half a table cannot be drawn."""
        if not self._has_colours:
            self._out.write(delta)
            self._in_line = not delta.endswith("\n")
            return
        for block in self._blocks.feed(delta):
            self._draw(block)

    def _draw(self, markdown: str) -> None:
        if markdown.strip():
            self._line(f"\n{draw(markdown, shutil.get_terminal_size().columns)}\n")

    def _started(self, event: Frame, data: Frame) -> None:
        again = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
        limit = f"at most {data['timeout']:g} s"
        ids = f"{event['run_id']} · {event['thread_id']}"
        self._line(f"● {one_line(event['agent_name'])} started{again} ({limit}) · {ids}", BOLD)
        self._doing = "started"

    def _thinking(self, _: Frame, data: Frame) -> None:
        step = f"{data['step_number']}/{data['total_steps']}" if "total_steps" in data else str(data["step_number"])
        self._line(f"· {step} {one_line(data['reasoning'])}", FAINT)
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
        words = f"{sign} {one_line(data['tool_name'])}({arguments}) {data['status']}, {duration}{problem}"
        self._line(words, GREEN if sign == "✓" else RED)
        if self._unfolds:
            self._unfold(call.get("arguments", {}), data.get("result"))
        self._doing = "working"

    def _unfold(self, arguments: Any, result: Any) -> None:
        for name, value in (("arguments", arguments), ("result", result)):
            self._line(indented(f"{name}: {readable(value)}"), FAINT)

    def _partial_result(self, _: Frame, data: Frame) -> None:
        delta = printable(data["delta"])
        if delta:
            self._streamed = True
            self._answer(delta)
        if data["is_complete"]:
            self._draw(self._blocks.rest())
        self._doing = "writing"

    def _approval_requested(self, event: Frame, data: Frame) -> None:
        tool = f" ({one_line(data['tool_name'])})" if data["tool_name"] else ""
        self._line(f"? {one_line(event['agent_name'])} asks{tool}: {one_line(data['reason'])}", YELLOW)
        for name, value in (data["arguments"] or {}).items():
            self._line(indented(f"{one_line(name)} = {readable(value)}"))
        self._doing = "waiting for an approval"

    def _approval_resolved(self, _: Frame, data: Frame) -> None:
        is_good = data["decision"] == "approved"
        self._line(f"{'✓' if is_good else '✗'} {data['decision']}", GREEN if is_good else RED)
        self._doing = "working"

    def _recovered(self, _: Frame, data: Frame) -> None:
        self._line(f"● taken over by another worker, attempt {data['attempt']}: {one_line(data['reason'])}")

    def _completed(self, _: Frame, data: Frame) -> None:
        result, error = data["result"], data["error"]
        self._draw(self._blocks.rest())  # of a message that was cut short
        if result["output"] is not None and not self._streamed:
            self._output(result["output"])
        for warning in result["warnings"]:
            self._line(f"! {one_line(warning)}", YELLOW)
        self._end(data["status"], data["execution_time_ms"], error)

    def _output(self, output: Any) -> None:
        if self._has_colours and isinstance(output, str):
            self._draw(printable(output))
        else:
            self._line(printable(readable(output)))

    def _end(self, status: str, took_ms: float | None, error: Frame | None) -> None:
        problem = f": {one_line(error['message'])} ({error['code']})" if error else ""
        is_good = status == "completed"
        took = "" if took_ms is None else f" after {readable_duration(took_ms)}"
        self._line(f"{'●' if is_good else '✗'} {status.replace('_', ' ')}{took}{problem}", BOLD if is_good else RED)

    def _gap(self, event: Frame, _: Frame) -> None:
        self._line(f"… events {event['missed_from']} to {event['missed_to']} are no longer kept")
        snapshot = event["snapshot"]
        if snapshot["status"] in ENDED:
            if snapshot["result"] and snapshot["result"]["output"] is not None:
                self._output(snapshot["result"]["output"])
            self._end(snapshot["status"], None, snapshot["error"])

    _SHOW: Final[dict[str, Callable[[Terminal, Frame, Frame], None]]] = {
        "agent_started": _started,
        "agent_thinking": _thinking,
        "tool_executing": _tool_executing,
        "tool_progress": _tool_progress,
        "tool_completed": _tool_completed,
        "partial_result": _partial_result,
        "approval_requested": _approval_requested,
        "approval_resolved": _approval_resolved,
        "run_recovered": _recovered,
        "agent_completed": _completed,
        "gap": _gap,
    }


def printable(text: str) -> str:
    return _UNPRINTABLE.sub("", text)


def one_line(text: str) -> str:
    line = " ".join(printable(text.replace("\r", " ")).split())
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"


def readable(value: Any) -> str:
    """Text as it is, all else as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in printable(text).split("\n"))


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
