"""Carries committed events to users' sockets, and makes up in silence for what the channel layer loses."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog
from channels.layers import BaseChannelLayer

from agents.database import in_database
from agents.runs import CommittedBatch, Run
from agents.tracker import AgentExecutionTracker
from notifications.authentication import Credential, find_ended
from notifications.groups import group_of
from notifications.limits import RateLimit
from notifications.log import read_heads
from notifications.notifier import WebSocketNotifier
from notifications.protocol import RateLimited

PUBLISH_SECONDS: Final = 1.0
"""A publication that takes longer is given up; the log heals it."""
DELIVERY_SECONDS: Final = 0.1
"""From the last publication to the end of the sockets. Who has not read by then reads on from its cursors."""
QUEUED_BATCHES: Final = 2_000
UNHEALTHY_SECONDS: Final = 10.0
"""For so long after a failed publication the heads are compared every second."""
CLOSE_COME_BACK: Final = 1012
OVERLAP: Final = timedelta(seconds=5)

log = structlog.get_logger(__name__)


class Socket(Protocol):
    """What the manager knows of a connected socket."""

    user_id: int
    credential: Credential

    async def end_session(self) -> None: ...

    def learn_heads(self, heads: Mapping[str, int], *, is_heartbeat: bool) -> None: ...

    async def close(self, code: int) -> None: ...


class WebSocketManager:
    """One per process; lives in the event loop that serves the sockets."""

    def __init__(self, *, layer: BaseChannelLayer, heartbeat: float, starts_per_minute: int) -> None:
        self.layer = layer
        self.heartbeat = heartbeat
        self.publish_failures = 0
        self.is_open = True
        self._starts_per_minute = starts_per_minute
        self._sockets: dict[int, set[Socket]] = defaultdict(set)
        self._starts: dict[int, RateLimit] = {}
        self._queue: asyncio.Queue[CommittedBatch] = asyncio.Queue(maxsize=QUEUED_BATCHES)
        self._duties: list[asyncio.Task[None]] = []
        self._unhealthy_until = 0.0
        self._in_doubt = asyncio.Event()

    def start(self) -> None:
        """Begins to publish and to compare heads, in the running event loop."""
        self._duties = [
            asyncio.create_task(self._publish_queued(), name="publisher"),
            asyncio.create_task(self._compare_heads(), name="heads"),
        ]

    async def stop(self) -> None:
        """Sends out what is queued, tells all sockets to come back, and ends."""
        self.is_open = False
        with suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._queue.join()
        await asyncio.sleep(DELIVERY_SECONDS)
        sockets = [socket for sockets in self._sockets.values() for socket in sockets]
        await asyncio.gather(*(socket.close(CLOSE_COME_BACK) for socket in sockets), return_exceptions=True)
        for duty in self._duties:
            duty.cancel()
        await asyncio.gather(*self._duties, return_exceptions=True)

    def create_notifier(self, tracker: AgentExecutionTracker, run: Run, *, steps_before: int) -> WebSocketNotifier:
        return WebSocketNotifier(tracker, run, steps_before=steps_before)

    def publish(self, batches: Sequence[CommittedBatch]) -> None:
        """Queues committed events for their users; what does not fit is counted and healed from the log."""
        for batch in batches:
            if batch.texts:
                try:
                    self._queue.put_nowait(batch)
                except asyncio.QueueFull:
                    self._note_failure("queue full")

    def connected(self, socket: Socket) -> int:
        """Adds a socket and returns how many its user has now, in this process."""
        self._sockets[socket.user_id].add(socket)
        return len(self._sockets[socket.user_id])

    def disconnected(self, socket: Socket) -> None:
        sockets = self._sockets[socket.user_id]
        sockets.discard(socket)
        if not sockets:
            del self._sockets[socket.user_id]

    def admit_start(self, user_id: int) -> None:
        """Counts a start of a run. Raises RateLimited when its user starts too many; may be called on any thread."""
        limit = self._starts.setdefault(user_id, RateLimit(self._starts_per_minute, 60.0))
        if wait := limit.take(time.monotonic()):
            raise RateLimited("You start too many runs. Wait a moment.", retry_after=round(wait, 3))

    async def _publish_queued(self) -> None:
        while True:
            batch = await self._queue.get()
            try:
                async with asyncio.timeout(PUBLISH_SECONDS):
                    await self.layer.group_send(group_of(batch.user_id), _message_of(batch))
            except Exception as error:  # whatever a layer raises: nothing is lost, the log has it
                self._note_failure(repr(error))
            finally:
                self._queue.task_done()

    def _note_failure(self, reason: str) -> None:
        self.publish_failures += 1
        self._unhealthy_until = asyncio.get_running_loop().time() + UNHEALTHY_SECONDS
        self._in_doubt.set()
        log.warning("events not published", reason=reason, failures=self.publish_failures)

    async def _compare_heads(self) -> None:
        """One query for all users connected to this process, every heartbeat; every second while in doubt."""
        loop = asyncio.get_running_loop()
        since, next_heartbeat = datetime.now(UTC), loop.time() + self.heartbeat
        while True:
            await self._wait_until(next_heartbeat)
            is_heartbeat, asked_at = loop.time() >= next_heartbeat, datetime.now(UTC)
            try:
                heads = await in_database(read_heads, list(self._sockets), since - OVERLAP)
            except Exception as error:  # whatever it is: sockets that nobody compares any more would be worse
                log.warning("heads not compared", error=repr(error))
                await asyncio.sleep(1.0)
                continue
            since = asked_at
            next_heartbeat = loop.time() + self.heartbeat if is_heartbeat else next_heartbeat
            for user_id, sockets in list(self._sockets.items()):
                for socket in list(sockets):
                    socket.learn_heads(heads.get(user_id, {}), is_heartbeat=is_heartbeat)
            if is_heartbeat:
                await self._end_sessions()

    async def _end_sessions(self) -> None:
        """Closes the sockets of those who logged out, or whose token was revoked, since the last heartbeat."""
        sockets = [socket for sockets in self._sockets.values() for socket in sockets]
        try:
            ended = await in_database(find_ended, {socket.credential for socket in sockets})
        except Exception as error:
            log.warning("sessions not checked", error=repr(error))
            return
        for socket in sockets:
            if socket.credential in ended:
                await socket.end_session()

    async def _wait_until(self, next_heartbeat: float) -> None:
        """Until the next heartbeat; while publication is in doubt, a second."""
        loop = asyncio.get_running_loop()
        self._in_doubt.clear()
        if loop.time() >= self._unhealthy_until:
            try:
                async with asyncio.timeout_at(next_heartbeat):
                    await self._in_doubt.wait()
            except TimeoutError:
                return
        await asyncio.sleep(max(0.0, min(1.0, next_heartbeat - loop.time())))


def _message_of(batch: CommittedBatch) -> dict[str, object]:
    return {"type": "run.events", "run_id": batch.run_id, "first_seq": batch.first_seq, "texts": batch.texts}
