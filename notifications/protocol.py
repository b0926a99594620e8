"""The wire (protocol.md): what clients may say, what they are told, and how frames are read.

The JSON Schemas and the AsyncAPI document in docs are generated from these types.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agents.bounds import MAX_DEPTH, is_too_deep
from agents.errors import InvalidMessage, NetraError
from agents.events import Problem

VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 65_536

M = TypeVar("M")

ClientId = Annotated[str, Meta(min_length=1, max_length=64)]
Seq = Annotated[int, Meta(ge=0)]


class InvalidJson(NetraError):
    code = "invalid_json"


class UnknownType(NetraError):
    code = "unknown_type"


class MessageTooLarge(NetraError):
    code = "message_too_large"


class RateLimited(NetraError):
    code = "rate_limited"


class SessionEnded(NetraError):
    code = "session_ended"


# ─ client → server


class StartAgent(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="start_agent"
):
    request_id: ClientId
    agent: str
    message: str
    thread_id: str | None = None
    params: dict[str, Any] = {}
    params_of: str | None = None
    timeout: float | None = None
    on_busy: Literal["enqueue", "reject", "interrupt"] = "enqueue"


class CancelRun(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="cancel_run"
):
    run_id: str


class ApprovalAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says to an approval; over HTTP this is all that is sent, because the address names it."""

    decision: Literal["approve", "reject"]
    arguments: dict[str, Any] | None = None
    comment: Annotated[str, Meta(max_length=2_000)] = ""


class ResolveApproval(ApprovalAnswer, frozen=True, kw_only=True, tag_field="type", tag="resolve_approval"):
    run_id: str
    approval_id: str


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="resume"):
    cursors: dict[str, Seq]
    id: Annotated[str, Meta(max_length=64)] | None = None


class Ack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="ack"):
    cursors: dict[str, Seq]


class Ping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    id: Annotated[str, Meta(max_length=64)] | None = None


ClientMessage = StartAgent | CancelRun | ResolveApproval | Resume | Ack | Ping

_BY_TYPE: Final[dict[str, type[ClientMessage]]] = {
    "start_agent": StartAgent,
    "cancel_run": CancelRun,
    "resolve_approval": ResolveApproval,
    "resume": Resume,
    "ack": Ack,
    "ping": Ping,
}


# ─ server → client


class LiveRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    thread_id: str
    agent_name: str
    status: str
    phase: str
    last_seq: int


class ConnectionEstablished(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="connection_established"):
    protocol: int
    connection_id: str
    user_id: str
    server_time: datetime
    heartbeat_s: float
    runs: list[LiveRun]


class RunAccepted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="run_accepted"):
    request_id: str
    run_id: str
    thread_id: str
    duplicate: bool
    queue_position: int


class CancelAccepted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="cancel_accepted"):
    run_id: str
    status: str


class ApprovalAccepted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="approval_accepted"):
    run_id: str
    approval_id: str
    decision: Literal["approved", "rejected", "expired"]


class CaughtUp(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="caught_up"):
    id: str | None
    runs: dict[str, int]


class PhaseStep(msgspec.Struct, frozen=True, kw_only=True):
    from_phase: str
    to_phase: str
    at: datetime
    duration_ms: float
    event_seq: int | None


class RunSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its record and phase history show it; `result` as in agent_completed, null while it is live."""

    run_id: str
    thread_id: str
    parent_run_id: str | None
    agent_name: str
    message: str
    status: str
    phase: str
    attempt: int
    last_seq: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    result: Any
    error: Problem | None
    phases: list[PhaseStep]


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gap"):
    run_id: str
    missed_from: int
    missed_to: int
    snapshot: RunSnapshot


class Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="head"):
    runs: dict[str, int]


class ErrorFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    code: str
    message: str
    request_id: str | UnsetType = UNSET
    run_id: str | UnsetType = UNSET
    approval_id: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    id: str | None
    server_time: datetime


ServerMessage = (
    ConnectionEstablished | RunAccepted | CancelAccepted | ApprovalAccepted | CaughtUp | Gap | Head | ErrorFrame | Pong
)

_encoder: Final = msgspec.json.Encoder()


def encode(message: ServerMessage) -> str:
    return _encoder.encode(message).decode()


def now() -> datetime:
    return datetime.now(UTC)


class Reading(msgspec.Struct, frozen=True):
    """A client's frame, read: a message, or the error that answers it."""

    message: ClientMessage | None = None
    error: ErrorFrame | None = None


def read(text: str | None) -> Reading:
    """Reads one frame; None stands for a binary one. Never raises."""
    raw: Any = None
    try:
        raw = _parse(text)
        return Reading(message=_build(raw))
    except NetraError as error:
        return Reading(error=error_frame(error, answered=raw))


def error_frame(error: NetraError, *, answered: object = None) -> ErrorFrame:
    """The frame for an error; `answered` is the message, as it came, whose ids the frame repeats."""
    ids = answered if isinstance(answered, dict) else {}
    return ErrorFrame(
        code=error.code,
        message=error.message,
        request_id=_repeat(ids.get("request_id")),
        run_id=_repeat(ids.get("run_id")),
        approval_id=_repeat(ids.get("approval_id")),
        field=error.field if error.field is not None else UNSET,
        retry_after=error.retry_after if error.retry_after is not None else UNSET,
    )


def _repeat(value: object) -> str | UnsetType:
    return value if isinstance(value, str) and len(value) <= 64 else UNSET


def _parse(text: str | None) -> Any:
    if text is None:
        raise InvalidJson("Send JSON in text frames; binary frames are not read.")
    if len(text) > MAX_MESSAGE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"A message has at most {MAX_MESSAGE_BYTES:,} bytes; this one has more.")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidJson(f"This is not JSON: {error}") from error


def read_answer(text: str) -> ApprovalAnswer:
    """The body of a request that answers an approval. Raises InvalidJson, MessageTooLarge or InvalidMessage."""
    raw = _parse(text)
    _require_flat(raw, field="arguments")
    return _convert(raw, ApprovalAnswer)


def _build(raw: Any) -> ClientMessage:
    _require_flat(raw, field="params")
    if not isinstance(raw, dict):
        raise InvalidMessage("A message is a JSON object with a type.")
    if "type" not in raw:
        raise InvalidMessage("The message has no type.", field="type")
    if not isinstance(raw["type"], str):
        raise InvalidMessage("type must be a text.", field="type")
    wanted = _BY_TYPE.get(raw["type"])
    if wanted is None:
        raise UnknownType(f"There is no message type {raw['type'][:64]!r}. Types: {', '.join(_BY_TYPE)}.", field="type")
    return _convert(raw, wanted)


def _require_flat(raw: Any, *, field: str) -> None:
    if is_too_deep(raw):
        raise InvalidMessage(f"The message is nested deeper than {MAX_DEPTH} levels.", field=field)


def _convert(raw: Any, wanted: type[M]) -> M:
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from error


_UNKNOWN_FIELD = re.compile(r"contains unknown field `(.*?)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"missing required field `(.*?)`")
_AT = re.compile(r"^(?P<what>.*?) - at `(?:key in )?\$\.(?P<field>\w+)(?P<rest>.*)`$", re.DOTALL)


def _explain(text: str) -> InvalidMessage:
    """A sentence, and the field it is about, from msgspec's words."""
    if match := _UNKNOWN_FIELD.search(text):
        name = match[1][:64]
        return InvalidMessage(f"There is no field {name!r} in this message.", field=name)
    if match := _MISSING_FIELD.search(text):
        return InvalidMessage(f"The field {match[1]} is missing.", field=match[1])
    if match := _AT.match(text):
        return InvalidMessage(f"{match['field']}: {match['what'].replace('`', '').lower()}.", field=match["field"])
    return InvalidMessage(f"The message is not valid: {text}")
