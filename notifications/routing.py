"""Which path is a socket."""

from __future__ import annotations

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


def build_router(*, is_ready: IsReady, manager: WebSocketManager, intake: Intake, limits: SocketLimits) -> URLRouter:
    chat: Any = ChatConsumer.as_asgi(is_ready=is_ready, manager=manager, intake=intake, limits=limits)
    other: Any = refuse
    return URLRouter([re_path(r"^ws/?$", chat), re_path(r"", other)])
