"""A WebSocket client on a plain socket: it notes when frames came and parses no more than it is asked to."""

from __future__ import annotations

import socket
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.uri import parse_uri

TEXT, CLOSE, PING = 0x81, 0x88, 0x89
"""The first bytes of whole frames. Nothing here is so long that a server would send it in pieces."""
SILENCE_SECONDS = 15.0
"""A server that is silent for so long while something is due has lost it: TimeoutError."""


class Lost(Exception):
    """Frames are missing, doubled or out of order, or the log has others."""


class Arrival(NamedTuple):
    """A text frame and when it was read from the socket, in seconds since the epoch."""

    text: bytes
    at: float


class Wire:
    def __init__(self, url: str, token: str = "") -> None:
        uri = parse_uri(url)
        self._protocol = ClientProtocol(uri, max_size=None)
        self._socket = socket.create_connection((uri.host, uri.port), timeout=SILENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arrivals: deque[Arrival] = deque()
        self._data = b""
        request = self._protocol.connect()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        self._protocol.send_request(request)
        self._flush()
        self._shake_hands()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self._protocol.send_close()
            self._flush()
        self._socket.close()

    def send(self, **message: Any) -> None:
        self._protocol.send_text(msgspec.json.encode(message))
        self._flush()

    def receive(self) -> Arrival:
        deadline = time.monotonic() + SILENCE_SECONDS  # pings are no answer
        while not self._arrivals:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._read()
        return self._arrivals.popleft()

    def receive_until(self, type_: str, times: int = 1) -> list[Arrival]:
        """Reads on until so many frames of that type have come; returns all that came, these included."""
        start, arrivals = b'{"type":"%b"' % type_.encode(), []
        while times:
            arrivals.append(self.receive())
            times -= arrivals[-1].text.startswith(start)
        return arrivals

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)

    def _shake_hands(self) -> None:
        head, found = b"", b"\r\n\r\n"
        while found not in head:
            head += self._receive()
        head, _, self._data = head.partition(found)
        self._protocol.receive_data(head + found)
        if self._protocol.state is not State.OPEN:
            raise ConnectionError("the server refused the socket") from self._protocol.handshake_exc
        self._take_frames(time.time())

    def _read(self) -> None:
        data = self._receive()
        at = time.time()
        self._data += data
        self._take_frames(at)

    def _receive(self) -> bytes:
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed the socket")
        return data

    def _take_frames(self, at: float) -> None:
        """By hand: a protocol for all that a frame can be takes as long for one as Netra does to send it."""
        data, start = self._data, 0
        while (begin := start + 2) <= len(data):
            length = data[start + 1]
            if length > 125:
                begin += 2 if length == 126 else 8
                length = int.from_bytes(data[start + 2 : begin])
            end = begin + length
            if begin > len(data) or end > len(data):
                break
            self._take_frame(data[start], data[begin:end], at)
            start = end
        self._data = data[start:]

    def _take_frame(self, kind: int, payload: bytes, at: float) -> None:
        if kind == TEXT:
            self._arrivals.append(Arrival(payload, at))
        elif kind == PING:
            self._protocol.send_pong(payload)
            self._flush()
        elif kind == CLOSE:
            raise ConnectionError(f"the server closed the socket: {payload!r}")
        else:
            raise ConnectionError(f"a frame that begins with {kind:#x} was not expected")
