"""A bounded queue for something that serves few at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from agents.errors import AgentError


class Seats:
    """`total` are served at once, first come, first served; `waiting` more may wait."""

    def __init__(self, *, total: int, waiting: int) -> None:
        self._free = total
        self._most = waiting
        self._queue: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def take(self, tell: Callable[[int], Awaitable[None]]) -> AsyncIterator[None]:
        """A seat; `tell(ahead)` is awaited before it is waited for. Raises AgentError `busy` when the queue is full."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(tell)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, tell: Callable[[int], Awaitable[None]]) -> None:
        if len(self._queue) >= self._most:
            raise AgentError(
                "busy", "The local language model has too many runs waiting. Please try again in a minute."
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await tell(len(self._queue))
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # its seat came when it was about to leave
                self._pass_on()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _pass_on(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
