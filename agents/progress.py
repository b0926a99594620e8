"""What earlier attempts at a run left in its log, for whoever takes it over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from agents.events import Problem
from agents.models import ExecutionEvent


class LoggedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call in the log; `result` and `error` as they were told."""

    tool_name: str
    arguments: Any
    has_ended: bool = False
    result: Any = None
    error: Problem | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier attempts of a run left in its log: what is still open, text, number of steps."""

    open_tool_calls: dict[str, tuple[str, datetime]]
    open_approvals: frozenset[str]
    calls: list[LoggedCall]
    produced: str
    steps: int


def read_progress(pk: int) -> Progress:
    """Reads a run's log for whoever takes it over."""
    open_calls: dict[str, tuple[str, datetime]] = {}
    open_approvals: set[str] = set()
    calls: dict[str, LoggedCall] = {}
    produced: list[str] = []
    steps = 0
    for type_, frame, at in _log_of(pk):
        data = msgspec.json.decode(frame)["data"]
        if type_ == "tool_executing":
            open_calls[data["tool_call_id"]] = (data["tool_name"], at)
            calls[data["tool_call_id"]] = LoggedCall(tool_name=data["tool_name"], arguments=data["arguments"])
        elif type_ == "tool_completed":
            open_calls.pop(data["tool_call_id"], None)
            calls[data["tool_call_id"]] = _ended(calls[data["tool_call_id"]], data)
        elif type_ == "approval_requested":
            open_approvals.add(data["approval_id"])
        elif type_ == "approval_resolved":
            open_approvals.discard(data["approval_id"])
        elif type_ == "partial_result":
            produced.append(data["delta"])
        else:
            steps += 1
    return Progress(
        open_tool_calls=open_calls,
        open_approvals=frozenset(open_approvals),
        calls=list(calls.values()),
        produced="".join(produced),
        steps=steps,
    )


def _ended(call: LoggedCall, data: dict[str, Any]) -> LoggedCall:
    error = msgspec.convert(data["error"], Problem) if "error" in data else None
    return replace(call, has_ended=True, result=data.get("result"), error=error)


def _log_of(pk: int) -> Iterable[tuple[str, str, datetime]]:
    types = (
        "tool_executing",
        "tool_completed",
        "approval_requested",
        "approval_resolved",
        "partial_result",
        "agent_thinking",
    )
    return (
        ExecutionEvent.objects.filter(execution_id=pk, type__in=types)
        .order_by("seq")
        .values_list("type", "frame", "at")
        .iterator()
    )
