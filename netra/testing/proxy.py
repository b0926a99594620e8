"""A TCP proxy that breaks as networks do: put it in front of a server, and switch it at any time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

Mode = Literal["pass", "delay", "black hole", "reset"]
Value = TypeVar("Value")

CHUNK: Final = 65_536
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER without time: closing sends RST
STOP_SECONDS: Final = 10.0


class Proxy:
    """Used as a context manager: `url` is that of the server, with the proxy's host and port.

    `pass` forwards; `delay` waits `delay_seconds` before it forwards a piece; `black hole` accepts and keeps
    connections but forwards nothing (what comes meanwhile waits, and is forwarded later); `reset` cuts all
    connections, also new ones.
    `connections` counts those that are open. It has a thread of its own.
    """

    def __init__(self, server_url: str, *, delay_seconds: float = 0.2) -> None:
        parts = urlsplit(server_url)
        assert parts.hostname, f"Which host? {server_url}"
        assert parts.port, f"Which port? {server_url}"
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        user, at, _ = parts.netloc.rpartition("@")
        self.port: int = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))
        self.delay_seconds = delay_seconds
        self._mode: Mode = "pass"
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="netra-proxy", daemon=True)

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def set_mode(self, mode: Mode) -> None:
        """Returns when it holds; with `reset` the connections that were open are cut."""
        self._call(self._set_mode(mode))

    def cut(self) -> None:
        """Cuts what is open, once; new connections are dealt with as the mode says."""
        self._call(self._cut())

    async def _set_mode(self, mode: Mode) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == "reset":
            await self._cut()

    async def _cut(self) -> None:
        for writer in self._open:
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._may_pass()
        if self._mode == "reset":
            return
        to_server = await asyncio.open_connection(*self._server)
        self._open.add(to_server[1])
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, to_server[1]))
                both.create_task(self._forward(to_server[0], writer))
        except* OSError:
            pass
        finally:
            self._open.discard(to_server[1])
            _reset(to_server[1])

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Until one of them ends: then the error that it raises ends the other direction too."""
        while piece := await source.read(CHUNK):
            if self._mode == "delay":
                await asyncio.sleep(self.delay_seconds)
            await self._may_pass()
            target.write(piece)
            await target.drain()
        target.write_eof()

    async def _may_pass(self) -> None:
        while self._mode == "black hole":
            await self._changed.wait()

    async def _listen(self) -> None:
        await asyncio.start_server(self._accept, sock=self._listener)

    async def _stop(self) -> None:
        self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Cuts a connection without a good-bye."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
