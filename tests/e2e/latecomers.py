"""Netra, to which clients come when daphne has ended its sockets and its reactor is about to stop."""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet import reactor as installed

from netra.asgi import application as netra

CLIENTS = 20

application = netra
reactor: Any = installed
sockets: list[asyncio.Task[None]] = []
"""Kept, as by daphne: what nobody holds would be gone before the interpreter goes down."""


def come() -> None:
    scope = {"type": "websocket", "path": "/ws/", "headers": [], "query_string": b"", "subprotocols": []}
    apps = [netra(scope, asyncio.Queue().get, send) for _ in range(CLIENTS)]
    sockets.extend(map(asyncio.get_running_loop().create_task, apps))


async def send(message: object) -> None:
    """Nobody is there any more."""


reactor.addSystemEventTrigger("before", "shutdown", come)
