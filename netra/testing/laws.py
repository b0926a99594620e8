"""The laws of protocol.md as assertions about what a client saw and what the database has.

Each raises AssertionError with a sentence that says what is broken. Events are frames, as they come over the socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from agents.errors import IllegalTransition
from agents.phases import EMITS_WHILE, ENTRY_EVENT, TERMINAL, AgentExecutionPhase, require_transition

Event = Mapping[str, Any]


def types_of(events: Sequence[Event]) -> list[str]:
    return [event["type"] for event in events]


def require_lawful(events: Sequence[Event]) -> None:
    """All that a socket got of a run that has ended: each event once, in order, lifecycle and tool calls whole."""
    _require(events, "Nothing came: there is no event to judge.")
    require_gapless(events)
    require_one_run(events)
    require_one_terminal(events)
    require_one_beginning(events)
    require_paired(events)
    require_answered(events)


def require_gapless(events: Sequence[Event]) -> None:
    """The seqs are 1, 2, 3 …"""
    for place, event in enumerate(events, 1):
        _require(event["seq"] == place, f"Event {place} of the run has the seq {event['seq']}: {event['type']}.")


def require_one_run(events: Sequence[Event]) -> None:
    """All events name the same run, thread and agent."""
    names = {(event["run_id"], event["thread_id"], event["agent_name"]) for event in events}
    _require(len(names) == 1, f"The events are of several runs, threads or agents: {sorted(names)}.")


def require_one_terminal(events: Sequence[Event]) -> None:
    """There is exactly one agent_completed, and it is last."""
    types = types_of(events)
    count = types.count("agent_completed")
    _require(count == 1, f"The run has {count} agent_completed, not one: {types}.")
    _require(types[-1] == "agent_completed", f"After agent_completed came {types[-1]}: {types}.")


def require_one_beginning(events: Sequence[Event]) -> None:
    """agent_started is there once and first, unless the run ended before it started."""
    types = types_of(events)
    if types != ["agent_completed"]:
        count = types.count("agent_started")
        _require(count == 1, f"The run has {count} agent_started, not one: {types}.")
        _require(types[0] == "agent_started", f"The run begins with {types[0]}, not with agent_started: {types}.")


def require_paired(events: Sequence[Event]) -> None:
    """Every tool_executing has its one tool_completed, later, and none comes from nowhere."""
    begun: set[str] = set()
    ended: set[str] = set()
    for event in events:
        if event["type"] == "tool_executing":
            call = event["data"]["tool_call_id"]
            _require(call not in begun, f"The tool call {call} begins twice.")
            begun.add(call)
        elif event["type"] == "tool_completed":
            call = event["data"]["tool_call_id"]
            _require(call in begun, f"The tool call {call} ends, but did not begin.")
            _require(call not in ended, f"The tool call {call} ends twice.")
            ended.add(call)
    _require(begun == ended, f"Tool calls without an end: {sorted(begun - ended)}.")


def require_answered(events: Sequence[Event]) -> None:
    """Every approval_requested has its one approval_resolved, later, and none comes from nowhere."""
    asked: set[str] = set()
    answered: set[str] = set()
    for event in events:
        if event["type"] == "approval_requested":  # told again after a run_recovered
            asked.add(event["data"]["approval_id"])
        elif event["type"] == "approval_resolved":
            approval = event["data"]["approval_id"]
            _require(approval in asked, f"The approval {approval} is resolved, but was not requested.")
            _require(approval not in answered, f"The approval {approval} is resolved twice.")
            answered.add(approval)
    _require(asked == answered, f"Approvals without an end: {sorted(asked - answered)}.")


def require_view_is_log(view: Sequence[Event], log: Sequence[Event]) -> None:
    """What a client took of a run is what the log has of it: all of it, nothing else, word for word."""
    for place, (seen, logged) in enumerate(zip_longest(view, log), 1):
        if seen is None:
            raise AssertionError(f"The client took {len(view)} events, the log has {len(log)}.")
        if logged is None:
            raise AssertionError(f"The client took event {place}, {_brief(seen)}; the log ends at {len(log)}.")
        _require(seen == logged, f"Event {place} is {_brief(seen)} to the client and {_brief(logged)} in the log.")


def require_record_is_log(record: Mapping[str, Any], log: Sequence[Event]) -> None:
    """The record of a run that has ended (`RunningNetra.run_row`) says the same as its log."""
    last, completed, count = record["last_seq"], record["completed_seq"], len(log)
    _require(last == count, f"The record's last seq is {last}, the log has {count} events.")
    _require(completed == count, f"The record has agent_completed at {completed}, the log has {count} events.")
    told = log[-1]["data"].get("status") if log else None
    _require(record["status"] == told, f"The record's status is {record['status']}, the last event says {told}.")


def require_legal_phases(transitions: Sequence[Mapping[str, Any]], events: Sequence[Event]) -> None:
    """The phase history of a run (`RunningNetra.transitions`): each step is in the table of phases.md, and told.

    It begins at created; if the log has agent_completed, the last step is to the end that this event names.
    """
    phase = AgentExecutionPhase.CREATED
    for number, step in enumerate(transitions, 1):
        target = AgentExecutionPhase(step["to_phase"])
        name = f"Step {number}, {step['from_phase']} to {target},"
        _require(step["ordinal"] == number, f"{name} has the ordinal {step['ordinal']}.")
        _require(step["from_phase"] == phase, f"{name} begins elsewhere: the run was in {phase}.")
        try:
            require_transition(phase, target)
        except IllegalTransition as error:
            raise AssertionError(f"{name} is illegal: {error}") from error
        _require_told(name, target, step["event_seq"], events)
        phase = target
    if events and events[-1]["type"] == "agent_completed":
        status = events[-1]["data"]["status"]
        _require(phase == status, f"The phases end in {phase}, the events with agent_completed, {status}.")
    else:
        _require(phase not in TERMINAL, f"The phases end in {phase}, the events without agent_completed.")


def _require_told(name: str, target: AgentExecutionPhase, seq: int | None, events: Sequence[Event]) -> None:
    _require(seq is None or 0 < seq <= len(events), f"{name} is told by event {seq} of {len(events)}.")
    told = events[seq - 1]["type"] if seq else None
    expected = {ENTRY_EVENT.get(target), *EMITS_WHILE.get(target, ())}
    _require(told in expected, f"{name} is told by {told}, not by {ENTRY_EVENT.get(target)}.")


def _brief(event: Event) -> str:
    text = str(dict(event))
    return text if len(text) <= 300 else f"{text[:300]}…"


def _require(holds: object, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)
