"""Netra, and beside it on /echo an application that says what it hears: what the suite expects of a server.

The suite can send no headers, so a token may also stand in the address: /ws/?token=….
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from autobahn.exception import Disconnected

from netra.asgi import application as netra
from netra.operations import Receive, Scope, Send


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" and scope["path"] == "/echo":
        await echo(receive, send)
    elif scope["type"] == "websocket":
        (token,) = parse_qs(scope["query_string"].decode())["token"]
        await netra({**scope, "headers": [(b"authorization", f"Bearer {token}".encode())]}, receive, send)
    else:
        await netra(scope, receive, send)


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    with suppress(OSError, Disconnected):  # gone before it was told
        while (message := await receive())["type"] == "websocket.receive":
            heard: dict[str, Any] = {kind: message.get(kind) for kind in ("text", "bytes")}
            await send({"type": "websocket.send", **heard})
