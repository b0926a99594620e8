"""Where ASGI servers differ, and sockets have to know."""

from __future__ import annotations

import functools
from typing import Any, Final

from autobahn.exception import Disconnected
from autobahn.websocket import protocol as autobahn_protocol

GONE: Final = (OSError, Disconnected)
"""What `send` raises when the client is gone; the server tells the consumer as well."""
AFTER_THE_END: Final = "after sending 'websocket.close'"
"""Of uvicorn's RuntimeError, where it has ended the socket by itself because of what the client sent."""


def make_no_debug_texts() -> None:
    """autobahn makes coloured texts for a debug log of each frame, though daphne leaves that log off: a fifth of what
    sending costs."""
    library: Any = autobahn_protocol
    library.hltype = library.hlval = _no_text


def _no_text(*_: object, **__: object) -> str:
    return ""


async def put(send: Any, message: Any) -> None:
    """Hands a message to the server by its ASGI `send`. Raises one of GONE when the client is gone."""
    try:
        await send(message)
    except RuntimeError as error:
        if AFTER_THE_END in str(error):
            raise ConnectionResetError("the socket has ended") from error
        raise


def unsent_bytes(send: Any) -> int:
    """What daphne has buffered for the connection behind an ASGI `send`.

    daphne's `send` returns at once, however full the connection is (daphne#170). Other servers let `send` wait, so
    that nothing piles up: 0.
    """
    transport = getattr(_daphne_protocol(send), "transport", None)
    waiting = getattr(transport, "dataBuffer", b"")
    return len(waiting) - getattr(transport, "offset", 0) + getattr(transport, "_tempDataLen", 0)


def forget_unsent(send: Any) -> None:
    """To be called when the client is gone. daphne keeps connections, and their buffers, until cycles are collected."""
    transport: Any = getattr(_daphne_protocol(send), "transport", None)
    if hasattr(transport, "dataBuffer"):
        transport.dataBuffer, transport.offset = b"", 0
        transport._tempDataBuffer, transport._tempDataLen = [], 0


async def close(send: Any, code: int) -> None:
    """Closes a socket with a code. daphne refuses the server's own codes below 3000, such as 1012."""
    protocol = _daphne_protocol(send)
    if protocol is not None and code in {1001, 1012}:
        protocol.sendCloseFrame(code=code, isReply=False)
    else:
        await put(send, {"type": "websocket.close", "code": code})


def _daphne_protocol(send: Any) -> Any:
    """daphne's `send` is a partial of its server's method, with the connection as its first argument."""
    protocol = send.args[0] if isinstance(send, functools.partial) and send.args else None
    return protocol if hasattr(protocol, "sendCloseFrame") else None
