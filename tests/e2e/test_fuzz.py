"""Whatever comes over a real socket is answered as protocol.md has it, never by `internal`; the socket goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, get_args
from uuid import uuid4

import msgspec.inspect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra
from notifications import protocol

# The sockets' own threads draw the masks of their frames while hypothesis draws, which it takes for a strategy's doing.
pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")]

EXAMPLES: Final = 2000 if os.environ.get("CI") == "true" else 300
ANSWERS: Final = {"head", "run_accepted", "cancel_accepted", "caught_up", "pong", "error"}
CODES: Final = {
    *("invalid_json", "invalid_message", "unknown_type", "message_too_large", "unknown_agent", "not_found"),
    *("invalid_cursor", "request_id_reused", "busy", "not_ready"),
}
"""All that protocol.md has for a message, but `internal` and the limits, which are out of the way."""
FAILED: Final = re.compile("Traceback|handler failed|sender failed|Exception inside")
NOT_UTF8: Final = 1007
DROPPED: Final = 1006
"""daphne cuts the connection, without a close frame."""
HUGE: Final = 70_000
"""A little more than a message may have."""
MANY: Final = "1000000"
UNKNOWN_RUN: Final = "run_01jd3w3v6zf8qbm3w2k4h8s9ta"
KNOWN: Final = "a run of its own"
"""In its place stands the id of a run that there is."""

# ─ what JSON can hold, and what it had better not

ODD_TEXTS: Final = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "\udfff\ud800",
        "\u202e",
        "\ufeff",
        "e\u0301" * 40,
        "語" * 64,
        "x" * 65,
        "../..",
        "'; --",
        "\\u0000",
    ]
)
TEXTS: Final = ODD_TEXTS | st.text(st.characters(), max_size=80) | st.sampled_from(["scripted", UNKNOWN_RUN, KNOWN])
NUMBERS: Final = (
    st.integers()
    | st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**400])
    | st.floats()  # NaN and the infinities too, which are no JSON
)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


RIGHT: Final[dict[type[msgspec.inspect.Type], st.SearchStrategy[Any]]] = {
    msgspec.inspect.StrType: TEXTS,
    msgspec.inspect.IntType: st.sampled_from([0, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30]) | st.integers(min_value=0),
    msgspec.inspect.FloatType: NUMBERS,
    msgspec.inspect.NoneType: st.none(),
    msgspec.inspect.AnyType: VALUES,
}


def right(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Values of a field's type, odd ones among them. A KeyError: a type that the wire had not yet."""
    match kind:
        case msgspec.inspect.LiteralType(values):
            return st.sampled_from(values)
        case msgspec.inspect.UnionType(types):
            return st.one_of(*map(right, types))
        case msgspec.inspect.DictType(key, value):
            return st.dictionaries(right(key), right(value), max_size=5)
        case _:
            return RIGHT[type(kind)]


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message of any type with any of its fields: right ones, wrong ones, missing ones and one too many."""
    struct = msgspec.inspect.type_info(draw(st.sampled_from(get_args(protocol.ClientMessage))))
    assert isinstance(struct, msgspec.inspect.StructType)
    message: dict[str, Any] = {"type": struct.tag}
    for field in struct.fields:
        if field.required or draw(st.booleans()):
            message[field.name] = draw(right(field.type))
    if draw(st.booleans()):
        name = draw(st.sampled_from([field.name for field in struct.fields]) | TEXTS)
        message |= draw(st.sampled_from([{}, {name: draw(VALUES)}]))
    if draw(st.integers(0, 9)) == 0:
        message.pop(draw(st.sampled_from(sorted(message))))
    return message


JSON_TEXTS: Final = st.one_of(messages(), messages(), messages(), VALUES).map(json.dumps)
DEEP: Final = st.builds(
    lambda depth, opening, closing: (opening * depth)[:HUGE] + (closing * depth)[:HUGE],
    st.sampled_from([60, 64, 65, 1000, 30_000]),
    st.sampled_from(["[", '{"type":', '{"type":"start_agent","params":{"a":', "[{"]),
    st.sampled_from(["", "]", "}"]),
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """JSON with something cut out, put in or said twice."""
    text = draw(JSON_TEXTS)
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return (
        text[:begin]
        + draw(st.sampled_from(["", "\0", ",", '"', text[begin:end] * 2]) | st.text(max_size=5))
        + text[end:]
    )


FRAGMENTS: Final = st.builds(
    lambda text, at: [text.encode()[:at], text.encode()[at:]],
    st.text(min_size=1, max_size=50) | JSON_TEXTS,
    st.integers(0, 60),
)
"""Of one message, cut where no character ends, too."""
FRAMES: Final = st.one_of(
    JSON_TEXTS,
    JSON_TEXTS,
    damaged(),
    DEEP,
    st.text(max_size=200),
    st.binary(max_size=200),
    JSON_TEXTS.map(str.encode),
    st.builds(
        lambda text, size: json.dumps({"type": "ping", "id": (text * size)[:size]}),
        TEXTS,
        st.sampled_from([1000, 65_500]),
    ),
)


class Target:
    """A socket of alice's, with a run that there is; a new one after each failure."""

    def __init__(self, netra: RunningNetra) -> None:
        self.netra = netra
        self.run_id = ""
        self._open = ExitStack()
        self._chat: Chat | None = None

    @contextmanager
    def chat(self) -> Iterator[Chat]:
        if self._chat is None:
            self._chat = self._open.enter_context(self.netra.connect())
            self.run_id = self._chat.run({"emit": 3})[0]["run_id"]
        try:
            yield self._chat
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._open.close()
        self._chat = None


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Of a Netra that a fuzzer does not tire (test_bad_input tries the limits), and whose log is clean in the end."""
    names = ("STARTS_PER_MINUTE", "MESSAGES_PER_MINUTE", "LIVE_RUNS_PER_USER", "PROTOCOL_ERRORS")
    limits = {f"NETRA_{name}": MANY for name in names}
    with RunningNetra(tmp_path_factory.mktemp("fuzz"), **limits) as netra:
        target = Target(netra)
        yield target
        target.close()
    log = netra.log.read_text()
    assert not [line for line in log.splitlines() if FAILED.search(line)], log


def require_answers(chat: Chat) -> None:
    """Reads on until a ping is answered; all that came before it is what protocol.md knows."""
    begin, id_ = len(chat.frames), uuid4().hex
    chat.send(type="ping", id=id_)
    while (frame := chat.receive()) != {**frame, "type": "pong", "id": id_}:
        assert "seq" in frame or frame["type"] in ANSWERS, frame
    for frame in chat.frames[begin:]:
        if frame["type"] == "error":
            assert frame["code"] in CODES, frame
            assert len(frame["message"]) < 1000, frame
    del chat.frames[begin:]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frames=st.lists(FRAMES, min_size=1, max_size=6))
def test_whatever_is_sent_the_socket_answers_and_goes_on(target: Target, frames: list[str | bytes]):
    with target.chat() as chat:
        for frame in frames:
            chat.send_raw(frame.replace(KNOWN, target.run_id) if isinstance(frame, str) else frame)
        require_answers(chat)


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fragments=st.lists(st.binary(max_size=30), min_size=1, max_size=5) | FRAGMENTS)
def test_what_is_no_utf8_ends_its_own_socket_alone(target: Target, fragments: list[bytes]):
    with target.chat() as other, target.netra.connect() as chat:
        try:
            chat.socket.send(fragments, text=True)
            require_answers(chat)
            code = None
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else DROPPED
        assert code in ({None} if is_utf8(b"".join(fragments)) else {DROPPED, NOT_UTF8})
        require_answers(other)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
