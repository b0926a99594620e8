"""A small OpenAI-compatible endpoint that does, request by request, what a test tells it; also what it should not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class FakeEndpoint:
    """Answers the first request with the first answer and so on, the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._answers = answers
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            self.requests.append(json.loads(await reader.readexactly(length)))
            self.keys.append(head.partition("authorization: ")[2].partition("\r\n")[0])
            await self._answers[min(len(self.requests), len(self._answers)) - 1](writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def status(code: int, body: Any = None, **headers: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        text = json.dumps({"error": body or {"message": "no", "type": "none"}})
        lines = [f"HTTP/1.1 {code} Told", "content-type: application/json", f"content-length: {len(text)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join([*lines, "connection: close", "", ""]) + text).encode())

    return answer


def stream(*pieces: str | dict[str, Any], ends: str | None = "stop", then: Answer | None = None) -> Answer:
    """Server-sent events: a text is a delta, a dict a whole chunk, raw text one that begins with `!`."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for piece in pieces:
            if isinstance(piece, str) and piece.startswith("!"):
                writer.write(piece[1:].encode())
                continue
            chunk = piece if isinstance(piece, dict) else _chunk({"content": piece})
            writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await writer.drain()
        if then is not None:
            await then(writer)
        if ends is not None:
            usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            writer.write(f"data: {json.dumps(_chunk({}, ends) | {'usage': usage})}\n\ndata: [DONE]\n\n".encode())

    return answer


def call(name: str, arguments: str, *, key: str = "call_1") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return _chunk({"tool_calls": [{"index": 0, "id": key, "type": "function", "function": function}]})


async def silence(writer: asyncio.StreamWriter) -> None:
    """Says nothing until the client has had enough."""
    while not writer.is_closing():
        await asyncio.sleep(0.02)
        writer.write(b"")
        if writer.transport.is_closing():
            return


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [choice]}
