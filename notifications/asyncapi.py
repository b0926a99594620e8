"""The AsyncAPI 3 document of the socket. docs/asyncapi.json is generated from this module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from notifications import protocol, schemas

MESSAGES: Final = "#/components/messages"

CLOSE_CODES: Final = {
    1000: "normal",
    1012: "the server restarts, or cannot serve you right now: come back",
    4400: "you keep breaking the protocol",
    4401: "your session has ended, or your token was revoked",
    4408: "you stopped reading, or acknowledging: come back with your cursors",
    4429: "too many connections or messages; an error with retry_after came before",
}
"""Those that Netra sends. 1011 never: an exception in the server is an error with code internal."""

DESCRIPTION: Final = """\
JSON text frames, one message a frame, at most 65,536 bytes from the client. docs/protocol.md says what is expected of \
both sides. Clients ignore types and fields that they do not know; the server refuses them with an error.

Without good credentials the handshake is refused with HTTP 403.

Close codes:

"""


def build() -> dict[str, Any]:
    """The document, as JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Netra",
            "version": str(protocol.VERSION),
            "description": "Runs AI agents and shows every step to their user, live.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8000",
                "protocol": "ws",
                "description": "As `make run` starts it. Elsewhere use wss.",
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY],
            }
        },
        "channels": {"chat": _channel()},
        "operations": _operations(),
        "components": {
            "securitySchemes": SECURITY,
            "messages": {type_: _message(type_) for type_ in schemas.types()},
            "schemas": schemas.components("#/components/schemas/{name}"),
        },
    }


SECURITY: Final[dict[str, Any]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token: manage.py create_token."},
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "A single-use ticket, good for 30 s, for pages of other origins.",
    },
    "session": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "Django's session, from an allowed Origin.",
    },
}


def _channel() -> dict[str, Any]:
    return {
        "address": "/ws/",
        "title": "Chat",
        "description": DESCRIPTION + "\n".join(f"- {code}: {meaning}" for code, meaning in CLOSE_CODES.items()),
        "servers": [{"$ref": "#/servers/local"}],
        "messages": {type_: {"$ref": f"{MESSAGES}/{type_}"} for type_ in schemas.types()},
        "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
    }


def _query() -> dict[str, Any]:
    ticket = {"type": "string", "description": "Instead of a token or a session."}
    return {"type": "object", "properties": {"ticket": ticket}}


def _operations() -> dict[str, Any]:
    """As the server sees it: it receives what clients send."""
    return {
        "receive": _operation("receive", "What a client may say.", schemas.CLIENT),
        "reply": _operation("send", "Replies, and what concerns the connection.", schemas.SERVER),
        "tell": _operation("send", "The events of runs; seq counts 1, 2, 3 … in each.", schemas.EVENTS),
    }


def _operation(action: str, summary: str, structs: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
    types = sorted(map(schemas.type_of, structs))
    return {
        "action": action,
        "channel": {"$ref": "#/channels/chat"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/chat/messages/{type_}"} for type_ in types],
    }


def _message(type_: str) -> dict[str, Any]:
    return {
        "name": type_,
        "title": type_,
        "summary": schemas.DESCRIPTIONS[type_],
        "payload": {"$ref": f"#/components/schemas/{type_}"},
    }
