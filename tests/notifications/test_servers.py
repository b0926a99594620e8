"""Where ASGI servers differ: how they say that a client is gone."""

from __future__ import annotations

import functools
from typing import Any

import autobahn.twisted  # noqa: F401 - autobahn runs on Twisted, as in daphne
import pytest
from autobahn.exception import Disconnected
from autobahn.websocket import protocol as autobahn_protocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.testing import StringTransport
from twisted.logger import Logger

from notifications import servers
from notifications.manager import CLOSE_COME_BACK


def failing(error: Exception) -> Any:
    async def send(message: dict[str, Any]) -> None:
        raise error

    return send


@pytest.mark.parametrize(
    "error",
    [
        Disconnected("Attempt to send on a closed protocol"),
        OSError("the client has gone"),
        RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'."),
    ],
    ids=["daphne", "uvicorn", "uvicorn, which has closed it"],
)
async def test_a_client_that_is_gone_is_gone_whatever_the_server_calls_it(error: Exception):
    with pytest.raises(servers.GONE):
        await servers.put(failing(error), {"type": "websocket.send", "text": "{}"})
    with pytest.raises(servers.GONE):
        await servers.close(failing(error), CLOSE_COME_BACK)


async def test_a_message_out_of_turn_is_a_bug_of_ours():
    error = RuntimeError("Expected ASGI message 'websocket.accept' or 'websocket.close', but got 'websocket.send'.")

    with pytest.raises(RuntimeError, match="but got"):
        await servers.put(failing(error), {"type": "websocket.send", "text": "{}"})


class Protocol:
    """What of daphne's protocol class counts here, over Twisted's own buffer."""

    def __init__(self, transport: FileDescriptor) -> None:
        self.transport = transport

    def sendCloseFrame(self) -> None: ...  # noqa: N802 - autobahn's name


def test_what_twisted_has_buffered_is_counted_and_can_be_let_go():
    class Reactor:
        def addWriter(self, writer: object) -> None: ...  # noqa: N802 - Twisted's name

    reactor: Any = Reactor()
    transport = FileDescriptor(reactor=reactor)
    transport.connected = True
    send = functools.partial(print, Protocol(transport))
    transport.write(b"x" * 1_000)
    transport.write(b"x" * 500)

    assert servers.unsent_bytes(send) == 1_500
    servers.forget_unsent(send)
    assert servers.unsent_bytes(send) == 0
    assert (transport.dataBuffer, transport._tempDataBuffer) == (b"", [])


def test_a_server_that_lets_send_wait_has_nothing_buffered():
    send = failing(OSError())

    servers.forget_unsent(send)
    assert servers.unsent_bytes(send) == 0


def test_no_text_is_made_for_a_debug_log_that_nobody_reads(monkeypatch: pytest.MonkeyPatch):
    made: list[object] = []
    for name in ("hltype", "hlval"):
        monkeypatch.setattr(autobahn_protocol, name, made.append)
    servers.make_no_debug_texts()
    connection: Any = autobahn_protocol.WebSocketProtocol()
    connection.transport, connection.log = StringTransport(), Logger()
    connection.send_queue, connection.peer, connection.logOctets = [], "", False
    connection.state = connection.STATE_CLOSING
    connection.sendData(b"a frame")

    assert (connection.transport.value(), made) == (b"a frame", [])
