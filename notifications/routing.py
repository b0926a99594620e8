"""Which path is a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from agents.intake import Intake
from notifications.consumers import ChatConsumer, IsReady
from notifications.manager import WebSocketManager
from notifications.receiver import SocketLimits


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answers a handshake on any other path with 403."""
    await send({"type": "websocket.close"})


def build_router(
    *,
    is_ready: IsReady,
    manager: WebSocketManager,
    intake: Intake,
    limits: SocketLimits,
    others: Mapping[str, type[ChatConsumer]] | None = None,
) -> URLRouter:
    """`others`: sockets of another kind, by the pattern of their path."""
    kinds: dict[str, type[ChatConsumer]] = {r"^ws/?$": ChatConsumer, **(others or {})}
    routes = []
    for pattern, kind in kinds.items():
        consumer: Any = kind.as_asgi(is_ready=is_ready, manager=manager, intake=intake, limits=limits)
        routes.append(re_path(pattern, consumer))
    other: Any = refuse
    return URLRouter([*routes, re_path(r"", other)])
