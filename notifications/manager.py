"""Carries committed events to users' sockets, and makes up in silence for what the channel layer loses."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Protocol

import msgspec
import structlog
from channels.layers import BaseChannelLayer

from agents.database import in_database
from agents.runs import CommittedBatch, Run
from agents.tracker import AgentExecutionTracker
from notifications import metrics
from notifications.authentication import Credential, find_ended
from notifications.doorbell import Doorbell
from notifications.limits import RateLimit
from notifications.log import read_heads
from notifications.notifier import WebSocketNotifier
from notifications.protocol import RateLimited
from notifications.session import Position

COMPARE_SECONDS: Final = 0.45
"""How often the heads are read. A socket is told those of the time before, which it should have by now: so what the
layer lost goes out within a second, and what is still on its way is not read from the log as well."""
DELIVERY_SECONDS: Final = 0.1
"""From the last publication to the end of the sockets. Who has not read by then reads on from its cursors."""
GOODBYE_SECONDS: Final = 1.0
CLOSE_COME_BACK: Final = 1012
OVERLAP: Final = timedelta(seconds=5)

Heads = Mapping[int, Mapping[str, int]]
"""By user and run."""

log = structlog.get_logger(__name__)

_started: Final[set[WebSocketManager]] = set()
"""Those of this process."""


def publish_soon(batches: Sequence[CommittedBatch]) -> None:
    """Tells of committed events from any thread. In a process without sockets it does nothing: the log is compared."""
    for manager in list(_started):
        manager.publish_soon(batches)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a socket from its beginning; `client` is what the client calls itself."""

    connection_id: str
    client: str
    opened_at: datetime


class Socket(Protocol):
    """What the manager knows of a connected socket. It hears of `user_id`'s runs; `credential` says who opened it.

    `is_watching`: it is not the user's, but somebody's who looks on.
    """

    is_watching: ClassVar[bool]

    user_id: int
    credential: Credential
    identity: Identity

    def take_moved(self) -> dict[str, Position]: ...

    async def end_session(self) -> None: ...

    def take_events(self, run_id: str, first_seq: int, texts: Sequence[str]) -> None: ...

    def learn_heads(self, heads: Mapping[str, int], *, is_heartbeat: bool) -> None: ...

    async def close(self, code: int) -> None: ...


class WebSocketManager:
    """One per process; lives in the event loop that serves the sockets."""

    def __init__(
        self, *, layer: BaseChannelLayer, heartbeat: float, starts_per_minute: int, redis_hosts: int = 0
    ) -> None:
        self.doorbell = Doorbell(layer, self._hear, hosts=redis_hosts)
        self.heartbeat = heartbeat
        self._starts_per_minute = starts_per_minute
        # In the order in which they came, not in a set's: tests see the same again with the same seed.
        self._sockets: defaultdict[int, dict[Socket, None]] = defaultdict(dict)
        self._starts: dict[int, RateLimit] = {}
        self._duty: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins to publish and to compare heads, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        _started.add(self)
        self.doorbell.start()
        self._duty = asyncio.create_task(self._compare_heads(), name="heads")

    async def stop(self) -> None:
        """Sends out what is queued, tells all sockets to come back, and ends."""
        _started.discard(self)
        await self.doorbell.ring_out()
        await asyncio.sleep(DELIVERY_SECONDS)
        await _all_soon([socket.close(CLOSE_COME_BACK) for socket in self.sockets()])
        await self.doorbell.stop()
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.wait([self._duty])

    def create_notifier(self, tracker: AgentExecutionTracker, run: Run, *, steps_before: int) -> WebSocketNotifier:
        return WebSocketNotifier(tracker, run, steps_before=steps_before)

    def publish(self, batches: Sequence[CommittedBatch]) -> None:
        """Tells of committed events, wherever their users are connected."""
        for batch in batches:
            if batch.texts:
                self.doorbell.ring(batch)

    def publish_soon(self, batches: Sequence[CommittedBatch]) -> None:
        """As `publish`, from another thread. Sockets of this process hear of it even if the layer is away."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publish_here_and_elsewhere, batches)

    def _publish_here_and_elsewhere(self, batches: Sequence[CommittedBatch]) -> None:
        for batch in batches:
            for socket in self._sockets.get(batch.user_id, ()):
                socket.take_events(batch.run_id, batch.first_seq, batch.texts)
        self.publish(batches)

    def connected(self, socket: Socket) -> int:
        """Adds a socket and returns how many its user has now, in this process; those who watch are counted apart."""
        self._sockets[socket.user_id][socket] = None
        metrics.SOCKETS.inc()
        return sum(each.is_watching == socket.is_watching for each in self._sockets[socket.user_id])

    def sockets(self) -> Iterator[Socket]:
        """All that are connected to this process."""
        for sockets in self._sockets.values():
            yield from sockets

    async def attend(self, socket: Socket) -> None:
        """From now on the socket's user is rung for here. Returns within a second, however the layer is."""
        await self.doorbell.join(socket.user_id)

    async def disconnected(self, socket: Socket) -> None:
        sockets = self._sockets[socket.user_id]
        sockets.pop(socket, None)
        metrics.SOCKETS.dec()
        if not sockets:
            del self._sockets[socket.user_id]
            await self.doorbell.leave(socket.user_id)

    def admit_start(self, user_id: int) -> None:
        """Counts a start of a run. Raises RateLimited when its user starts too many; may be called on any thread."""
        limit = self._starts.setdefault(user_id, RateLimit(self._starts_per_minute, 60.0))
        if wait := limit.take(time.monotonic()):
            raise RateLimited("You start too many runs. Wait a moment.", retry_after=round(wait, 3))

    def _hear(self, message: Mapping[str, Any]) -> None:
        """What a newer version may say is ignored."""
        if message.get("type") == "run.events":
            for socket in self._sockets.get(message["user_id"], ()):
                for run_id, first_seq, texts in message["batches"]:
                    socket.take_events(run_id, first_seq, texts)

    async def _compare_heads(self) -> None:
        """One query for all users connected to this process, whatever the layer does."""
        loop = asyncio.get_running_loop()
        since, next_heartbeat = datetime.now(UTC), loop.time() + self.heartbeat
        before: Heads = {}
        told: Heads = {}
        live: set[str] = set()
        while True:
            await asyncio.sleep(max(0.0, min(COMPARE_SECONDS, next_heartbeat - loop.time())))
            is_heartbeat, asked_at = loop.time() >= next_heartbeat, datetime.now(UTC)
            try:
                heads, live = await in_database(read_heads, list(self._sockets), since - OVERLAP, live)
                self._tell(before, told, is_heartbeat=is_heartbeat)
                since, told, before = asked_at, before, heads
                if is_heartbeat:
                    next_heartbeat = loop.time() + self.heartbeat
                    await self._end_sessions()
            except Exception as error:  # whatever it is: sockets that nobody compares any more would be worse
                log.warning("heads not compared", error=repr(error))
                await asyncio.sleep(1.0)

    def _tell(self, heads: Heads, told: Heads, *, is_heartbeat: bool) -> None:
        for user_id, sockets in self._sockets.items():
            mine, before = heads.get(user_id, {}), told.get(user_id, {})
            news = mine if is_heartbeat else {run: head for run, head in mine.items() if before.get(run) != head}
            if news or is_heartbeat:
                for socket in sockets:
                    socket.learn_heads(news, is_heartbeat=is_heartbeat)

    async def _end_sessions(self) -> None:
        """Closes the sockets of those who logged out, or whose token was revoked, since the last heartbeat."""
        sockets = list(self.sockets())
        try:
            ended = await in_database(find_ended, {socket.credential for socket in sockets})
        except Exception as error:
            log.warning("sessions not checked", error=repr(error))
            return
        await _all_soon([socket.end_session() for socket in sockets if socket.credential in ended])


async def _all_soon(works: Sequence[Awaitable[None]]) -> None:
    """Side by side, and not for long: a server may let `send` wait for a client that does not read."""
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await asyncio.gather(*works, return_exceptions=True)
