"""Brings a socket's events out: from the delivery session, or from the log where the session says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from agents.database import patiently
from notifications import metrics, protocol
from notifications.log import read_events, read_snapshot
from notifications.manager import CLOSE_COME_BACK
from notifications.servers import GONE
from notifications.session import CaughtUp, DeliverySession, Fetch, Gap, Send

STOPPED_READING_SECONDS: Final = 60.0
UNSENT_BYTES: Final = 512 * 1024
"""What may wait in the server for one client; beyond it the sender waits, and then goes on from the log."""
LOOK_AGAIN_SECONDS: Final = 0.02
NOT_READING_SECONDS: Final = 0.5
"""After so long without taking anything a client counts as one that does not read."""
CLOSE_STOPPED_READING: Final = 4408

log = structlog.get_logger(__name__)


class EventSender:
    """One per socket. `send_text` puts a frame on the wire, `close` ends the socket with a code."""

    def __init__(
        self,
        *,
        user_id: int,
        session: DeliverySession,
        send_text: Callable[[str], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
        unsent_bytes: Callable[[], int],
    ) -> None:
        self._user_id = user_id
        self._session = session
        self._send_text = send_text
        self._close = close
        self._unsent_bytes = unsent_bytes
        self._work = asyncio.Event()
        self._head: dict[str, int] | None = None
        self._blocked_since: float | None = None
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run(), name=f"sender of user {user_id}")

    def wake(self) -> None:
        """The session may have something to do."""
        self._work.set()

    def note_ack(self) -> None:
        """The client has acked: it is reading."""
        self._blocked_since = None
        self._work.set()

    def send_head(self, heads: Mapping[str, int]) -> None:
        """Has a `head` frame sent, after the events that are due."""
        self._head = {**(self._head or {}), **heads}
        self._work.set()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None  # it knows this sender: what that holds goes with it, not when Python looks for cycles

    async def _run(self) -> None:
        try:
            while True:
                await self._step()
        except TimeoutError:
            metrics.SLOW_CLIENTS_CLOSED.inc()
            await self._close(CLOSE_STOPPED_READING)
        except GONE:
            log.debug("client gone", user_id=self._user_id)
        except Exception:
            log.exception("sender failed", user_id=self._user_id)
            await self._close(CLOSE_COME_BACK)

    async def _step(self) -> None:
        match self._session.next():
            case Send(texts):
                await self._send(texts)
            case Gap(run_id, missed_from, missed_to):
                await self._tell_gap(run_id, missed_from, missed_to)
            case CaughtUp(id_, places):
                await self._send([protocol.encode(protocol.CaughtUp(id=id_, runs=places))])
            case Fetch(run_id, after, limit, cause):
                metrics.LOG_READS.labels(cause).inc()
                rows = await patiently(read_events, self._user_id, run_id, after, limit)
                await self._send(self._session.fetched(run_id, after, rows).texts)
            case None:
                await self._rest()

    async def _rest(self) -> None:
        """Nothing is due: tells the heads if it is time, else waits."""
        if self._head is not None:
            heads, self._head = self._head, None
            await self._send([protocol.encode(protocol.Head(runs=heads))])
        else:
            self._work.clear()
            async with asyncio.timeout_at(self._patience_ends()):
                await self._work.wait()

    def _patience_ends(self) -> float | None:
        """When a client whose window is full has not acked for a minute; None: nothing is awaited of it."""
        if not self._session.is_blocked:
            self._blocked_since = None
            return None
        if self._blocked_since is None:
            metrics.SLOW_CLIENT_WAITS.inc()
            self._blocked_since = asyncio.get_running_loop().time()
        return self._blocked_since + STOPPED_READING_SECONDS

    async def _send(self, texts: Sequence[str]) -> None:
        async with asyncio.timeout(STOPPED_READING_SECONDS):
            for text in texts:
                await self._send_text(text)
        await asyncio.sleep(0)  # others of this process have their turn
        if self._unsent_bytes() > UNSENT_BYTES:
            await self._let_client_read()

    async def _let_client_read(self) -> None:
        """Waits while too much waits for the client. Raises TimeoutError when it takes nothing for a minute."""
        metrics.SLOW_CLIENT_WAITS.inc()
        loop = asyncio.get_running_loop()
        least, since = self._unsent_bytes(), loop.time()
        while (unsent := self._unsent_bytes()) > UNSENT_BYTES:
            if unsent < least:
                least, since = unsent, loop.time()
            elif loop.time() - since > STOPPED_READING_SECONDS:
                raise TimeoutError
            elif loop.time() - since > NOT_READING_SECONDS:
                self._session.set_reading(is_reading=False)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        self._session.set_reading(is_reading=True)

    async def _tell_gap(self, run_id: str, missed_from: int, missed_to: int) -> None:
        snapshot = await patiently(read_snapshot, self._user_id, run_id)
        gap = protocol.Gap(run_id=run_id, missed_from=missed_from, missed_to=missed_to, snapshot=snapshot)
        await self._send([protocol.encode(gap)])
