"""JSON Schemas of all messages and events, made from their types. docs/schemas is generated from this module."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from agents import events
from notifications import protocol

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
CLIENT: Final[tuple[type[msgspec.Struct], ...]] = get_args(protocol.ClientMessage)
SERVER: Final[tuple[type[msgspec.Struct], ...]] = get_args(protocol.ServerMessage)
EVENTS: Final[tuple[type[msgspec.Struct], ...]] = get_args(events.Event)

DESCRIPTIONS: Final = {
    "start_agent": "Starts a run; answered by run_accepted, or by an error with the request_id.",
    "cancel_run": "Has a run cancelled; answered by cancel_accepted. The run then ends with its agent_completed.",
    "resolve_approval": "Answers an approval_requested; answered by approval_accepted. The first answer counts.",
    "resume": "Asks for the events after each cursor, in order; answered by them, then by caught_up.",
    "ack": "Says what has arrived. The first ack turns flow control on for this connection.",
    "ping": "Answered by pong, at once.",
    "connection_established": "The first frame: from here on every new event of every run of the user arrives.",
    "run_accepted": "The run exists and will end with agent_completed. Comes before the run's events.",
    "cancel_accepted": "The wish to cancel is recorded; status is the run's when it was.",
    "approval_accepted": "The answer is recorded; the run goes on with its approval_resolved.",
    "caught_up": "The replay that a resume asked for ends here; what follows is live.",
    "gap": "The log no longer holds these events; the snapshot is the run as its record shows it.",
    "head": "The last seq of the user's live and just ended runs, every heartbeat: who has less lacks events.",
    "error": "Answers a message that cannot be obeyed, or says why the connection is about to be closed.",
    "pong": "Answers ping.",
    "agent_started": "The run has begun.",
    "agent_thinking": "What the agent is about to do, or does.",
    "tool_executing": "A tool call begins; tool_completed with the same tool_call_id follows.",
    "tool_progress": "How far a tool call has come.",
    "tool_completed": "A tool call has ended.",
    "partial_result": "The next piece of the answer's text.",
    "approval_requested": "The run asks its user, and waits; approval_resolved with the same approval_id follows.",
    "approval_resolved": "Somebody has answered, or the time for it is over, or the run has ended.",
    "run_recovered": "Another worker has taken the run over.",
    "agent_completed": "The run has ended. Exactly one in each run, and its last event.",
}


def type_of(struct: type[msgspec.Struct]) -> str:
    """The message's `type` on the wire."""
    return str(getattr(struct, "type", None) or struct.__struct_config__.tag)


def components(reference: str) -> dict[str, Schema]:
    """The schema of every message by its type on the wire, and of the parts by their names in Python.

    `reference` says how they point at each other, such as `#/$defs/{name}`.
    """
    structs = [*CLIENT, *SERVER, *EVENTS, _envelope()]
    _, parts = msgspec.json.schema_components(structs, ref_template=reference)
    envelope = parts.pop("Envelope")
    schemas = {
        name: {key: value for key, value in part.items() if key != "description"} for name, part in parts.items()
    }
    for struct in (*CLIENT, *SERVER):
        schemas[type_of(struct)] = _described(type_of(struct), schemas.pop(struct.__name__))
    for struct in EVENTS:
        event = _event(envelope, type_of(struct), reference.format(name=struct.__name__))
        schemas[type_of(struct)] = _described(type_of(struct), event)
    return dict(sorted(schemas.items()))


def standalone(type_: str) -> Schema:
    """The schema of one message, with all that it points at inside."""
    everything = components("#/$defs/{name}")
    parts: dict[str, Schema] = {}
    waiting = _references(everything[type_])
    while waiting:
        name = waiting.pop()
        parts[name] = everything[name]
        waiting |= _references(everything[name]) - parts.keys()
    schema = {"$schema": DIALECT, **everything[type_]}
    return {**schema, "$defs": dict(sorted(parts.items()))} if parts else schema


def types() -> list[str]:
    return sorted(map(type_of, (*CLIENT, *SERVER, *EVENTS)))


def _envelope() -> type[msgspec.Struct]:
    """The envelope of any event; a schema of the real one cannot be made, as a frame's type tells which data it has."""
    fields: list[tuple[str, Any, Any]] = [
        (field.name, Any if field.name == "data" else field.type, field.default)
        for field in msgspec.structs.fields(events.Envelope)
    ]
    return msgspec.defstruct("Envelope", fields, kw_only=True)


def _event(envelope: Schema, type_: str, data: str) -> Schema:
    own = {"type": {"const": type_}, "seq": {"type": "integer", "minimum": 1}, "data": {"$ref": data}}
    return {**envelope, "properties": {**envelope["properties"], **own}}


def _described(type_: str, schema: Schema) -> Schema:
    return {**schema, "title": type_, "description": DESCRIPTIONS[type_]}


def _references(schema: Any) -> set[str]:
    """The names of the parts that a schema points at."""
    if isinstance(schema, list):
        return {name for part in schema for name in _references(part)}
    if not isinstance(schema, dict):
        return set()
    reference = schema.get("$ref")
    own = {reference.rpartition("/")[2]} if isinstance(reference, str) else set()
    return own.union(*(_references(part) for part in schema.values()))
