"""What operators and their machines ask over HTTP: `/healthz`, `/readyz` and `/metrics`.

Answered before Django, in the event loop alone: by any name of the host (a container is probed by its address), and
also while every thread is busy.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any, Final

import msgspec

from netra.health import Health
from netra.metrics import Metrics

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = "application/json"
ALIVE: Final = b'{"status":"ok"}'
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
NO_METRICS: Final = (
    b"Metrics are told on this machine only, and not through a proxy. Set NETRA_METRICS_TOKEN, and ask with"
    b" Authorization: Bearer TOKEN.\n"
)
FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
"""Who comes by a proxy of this machine looks as if from here."""


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    content_type: str = JSON


class Operations:
    """An ASGI application for the paths of which it says that they are its own."""

    def __init__(self, health: Health, metrics: Metrics, *, metrics_token: str) -> None:
        self._health = health
        self._metrics = metrics
        self._metrics_token = metrics_token

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

    async def _measured(self, scope: Scope) -> Answer:
        if not may_read_metrics(scope, self._metrics_token):
            return Answer(403, NO_METRICS, "text/plain; charset=utf-8")
        return Answer(200, await self._metrics.read(), METRICS)

    _PATHS: Final[Mapping[str, Callable[[Operations, Scope], Awaitable[Answer]]]] = {
        "/healthz": _alive,
        "/readyz": _ready,
        "/metrics": _measured,
    }


def may_read_metrics(scope: Scope, token: str) -> bool:
    """Who has the token; as long as there is none, who asks from this machine without a proxy."""
    headers = dict(scope["headers"])
    if token:
        return secrets.compare_digest(headers.get(b"authorization", b""), f"Bearer {token}".encode())
    host = (scope.get("client") or ("",))[0]
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:  # a Unix socket has no address
        is_here = False
    return is_here and not any(name in headers for name in FORWARDED)
