"""What tools have done in earlier attempts at a run, read from its log, so that it is not done again.

A call of this attempt is an earlier one if it has the same tool and the same arguments, as the log shows them; equal
ones are taken in their order. What happened to the answer of a call that was cut off is unknown.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agents.errors import ToolError, ToolUnknown
from agents.progress import LoggedCall
from agents.showing import digest_of, is_whole, shown
from agents.tools import Tool

_CUT_OFF: Final = frozenset({"unknown", "cancelled"})
"""Codes of calls that nobody saw the end of: their worker died, or was stopped and cancelled them."""


class Ledger:
    def __init__(self, calls: Iterable[LoggedCall]) -> None:
        self._calls: defaultdict[str, deque[LoggedCall]] = defaultdict(deque)
        for call in calls:
            self._calls[digest_of([call.tool_name, call.arguments])].append(call)

    def take(self, tool_name: str, arguments: Mapping[str, Any]) -> LoggedCall | None:
        """The earlier call that this one is, if any; each is taken once."""
        if not self._calls:
            return None
        calls = self._calls.get(digest_of([tool_name, shown(arguments)]))
        return calls.popleft() if calls else None


def was_cut_off(call: LoggedCall) -> bool:
    return not call.has_ended or (call.error is not None and call.error.code in _CUT_OFF)


def replay(call: LoggedCall, tool: Tool) -> Any:
    """The call's result once more, or its ToolError; ToolUnknown when it cannot be told what it did."""
    if was_cut_off(call):
        sentence = f"{tool.name} was under way when its worker went away; whether it was done is not known."
        raise ToolUnknown("unknown", sentence)
    if call.error is not None:
        raise ToolError(call.error.code, call.error.message)
    if not is_whole(call.result):
        sentence = f"{tool.name} was done before, but its result was secret or too large to be kept."
        raise ToolUnknown("not_kept", sentence)
    return tool.read_result(call.result)
