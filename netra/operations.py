"""What operators and their machines ask over HTTP: `/healthz` and `/readyz`.

Answered before Django, in the event loop alone: by any name of the host (a container is probed by its address), and
also while every thread is busy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from netra.health import Health

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = "application/json"
ALIVE: Final = b'{"status":"ok"}'


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    content_type: str = JSON


class Operations:
    """An ASGI application for the paths of which it says that they are its own."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def owns(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["path"] in self._PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in {"GET", "HEAD"}:
            answer = await self._PATHS[scope["path"]](self, scope)
        else:
            answer = Answer(405, b'{"status":"failed","message":"Ask by GET or HEAD."}')
        headers = {
            "content-type": answer.content_type,
            "content-length": str(len(answer.body)),
            "cache-control": "no-store",
            "allow": "GET, HEAD",
        }
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _alive(self, _: Scope) -> Answer:
        """That this is answered says it: the event loop goes round."""
        return Answer(200, ALIVE)

    async def _ready(self, _: Scope) -> Answer:
        report = self._health.report
        return Answer(200 if report.is_ready else 503, msgspec.json.encode(report))

    _PATHS: Final[Mapping[str, Callable[[Operations, Scope], Awaitable[Answer]]]] = {
        "/healthz": _alive,
        "/readyz": _ready,
    }
