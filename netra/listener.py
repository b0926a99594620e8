"""The paths of `netra.operations` for a process that serves nobody else, a worker. One answer a connection."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import structlog

from netra.operations import Operations, Scope

REQUEST_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


async def listen(operations: Operations, host: str, port: int) -> asyncio.Server:
    """Answers until the server that it returns is closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await _answer(operations, reader, writer)
                await writer.drain()
        except Exception as error:  # whatever came: the worker works on
            log.debug("request not answered", error=repr(error))
        finally:
            writer.close()

    return await asyncio.start_server(serve, host, port)


async def _answer(operations: Operations, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    scope = _scope_of(await reader.readuntil(b"\r\n\r\n"), writer.get_extra_info("peername"))
    if not operations.owns(scope):
        writer.write(_head(404, [(b"content-length", b"0")]))
        return

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            writer.write(_head(message["status"], message["headers"]))
        else:
            writer.write(message["body"])

    await operations(scope, _nothing, send)


def _scope_of(request: bytes, client: tuple[str, int]) -> Scope:
    first, *lines = request.rstrip().split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ")
    pairs = (line.partition(b":") for line in lines)
    headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    return {
        "type": "http",
        "method": method,
        "path": target.partition("?")[0],
        "headers": headers,
        "client": client,
    }


def _head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in [*headers, (b"connection", b"close")])
    return first + lines + b"\r\n"


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
