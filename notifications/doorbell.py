"""The channel layer as what it is, a doorbell that may fail to ring: everything here is bounded in time and made good.

A process has one channel, which is in the group of each user who is connected to it. So the layer's troubles are this
module's alone: no socket waits for it or ends by it. What did not ring is found in the log (notifications.manager).
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from channels.layers import BaseChannelLayer

from agents.ids import Prefix, new_id
from agents.runs import CommittedBatch
from notifications import metrics
from notifications.groups import group_of

SEND_SECONDS: Final = 1.0
"""What takes longer is given up."""
QUEUED_BATCHES: Final = 2_000
MESSAGE_CHARACTERS: Final = 500_000
"""About the most that goes in one message."""
CANARY_SECONDS: Final = 1.0
"""How often a process sends a message to itself."""
DEAF_SECONDS: Final = 2.5
"""Two in a row did not come back: the connections are dropped and made anew."""
SHARDED_CANARIES: Final = 16
"""With several hosts: so many groups are spread over all of them."""

Message = Mapping[str, Any]

log = structlog.get_logger(__name__)


class Doorbell:
    """`hear` is called with each message of a group that this process is in.

    `hosts`: the Redis servers behind the layer; 0: it is in this process's memory, and has no connections.
    """

    def __init__(self, layer: BaseChannelLayer, hear: Callable[[Message], None], *, hosts: int = 0) -> None:
        self.layer = layer
        self.failures = 0
        self._hear = hear
        self._hosts = hosts
        name = new_id(Prefix.CONNECTION)
        self._canaries = [f"netra.canary.{name}.{number}" for number in range(SHARDED_CANARIES if hosts > 1 else 1)]
        self._heard_at = dict.fromkeys(self._canaries, -math.inf)
        self._opened_at = -math.inf
        self._users: set[int] = set()
        self._unjoined: set[int] = set()
        self._channel: str | None = None
        self._waiting: defaultdict[int, deque[CommittedBatch]] = defaultdict(deque)
        self._count = 0
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._listening: asyncio.Task[None] | None = None
        self._duties: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to ring and to listen, in the running event loop."""
        self._listen()
        self._duties = [
            asyncio.create_task(self._ring_queued(), name="doorbell"),
            asyncio.create_task(self._keep_canaries(), name="canaries"),
        ]

    async def ring_out(self) -> None:
        """Returns when what is queued has been rung, or a second later."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self._queue.join()

    async def stop(self) -> None:
        tasks = [*self._duties, *([self._listening] if self._listening else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SEND_SECONDS)

    @property
    def is_heard(self) -> bool:
        """Whether what this process sent to itself came back lately."""
        return asyncio.get_running_loop().time() - min(self._heard_at.values()) < DEAF_SECONDS

    def ring(self, batch: CommittedBatch) -> None:
        """Queues committed events for their user; what does not fit is counted."""
        if self._count == QUEUED_BATCHES:
            self._note_failure("queue full")
            return
        self._count += 1
        waiting = self._waiting[batch.user_id]
        waiting.append(batch)
        if len(waiting) == 1:
            self._queue.put_nowait(batch.user_id)

    async def join(self, user_id: int) -> None:
        """From now on messages for this user are heard; when that fails, as soon as it can be done."""
        self._users.add(user_id)
        self._unjoined.add(user_id)
        await self._join(user_id)

    async def leave(self, user_id: int) -> None:
        self._users.discard(user_id)
        self._unjoined.discard(user_id)
        if self._channel is not None:
            await self._try(self.layer.group_discard(group_of(user_id), self._channel), "group not left")

    # ─ ringing

    async def _ring_queued(self) -> None:
        while True:
            user_id = await self._queue.get()
            try:
                await self._send(group_of(user_id), _message_to(user_id, self._take_waiting(user_id)))
            except Exception as error:  # whatever a layer raises: nothing is lost, the log has it
                self._note_failure(repr(error))
            finally:
                self._queue.task_done()

    def _take_waiting(self, user_id: int) -> list[CommittedBatch]:
        """All that has gathered for a user while others had their turn; what is too much for a message waits on."""
        waiting, taken, characters = self._waiting[user_id], [], 0
        while waiting and characters < MESSAGE_CHARACTERS:
            batch = waiting.popleft()
            characters += sum(map(len, batch.texts))
            taken.append(batch)
        self._count -= len(taken)
        if waiting:
            self._queue.put_nowait(user_id)
        else:
            del self._waiting[user_id]
        return taken

    async def _send(self, group: str, message: Message) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self.layer.group_send(group, dict(message))

    def _note_failure(self, reason: str) -> None:
        self.failures += 1
        metrics.PUBLISH_FAILURES.inc()
        log.warning("events not published", reason=reason, failures=self.failures)

    # ─ listening

    def _listen(self) -> None:
        self._channel = None
        self._opened_at = asyncio.get_running_loop().time()
        self._listening = asyncio.create_task(self._hear_all(), name="listener")

    async def _hear_all(self) -> None:
        """Until the layer fails; the canaries find that out."""
        try:
            async with asyncio.timeout(DEAF_SECONDS):
                self._channel = channel = await self._open()
            await self._join_missing()
            while True:
                self._take(await self.layer.receive(channel))
        except Exception as error:
            log.warning("channel layer away", error=repr(error))

    async def _open(self) -> str:
        channel = await self.layer.new_channel()
        for canary in self._canaries:
            await self.layer.group_add(canary, channel)
        self._unjoined |= self._users
        return str(channel)

    async def _join(self, user_id: int) -> None:
        if self._channel is not None:
            joining = self.layer.group_add(group_of(user_id), self._channel)
            if await self._try(joining, "group not joined"):
                self._unjoined.discard(user_id)

    async def _join_missing(self) -> None:
        """As many as the layer lets join in a second: the canaries, and what rings, do not wait for the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                for user_id in list(self._unjoined):
                    await self._join(user_id)

    def _take(self, message: Message) -> None:
        if message.get("type") == "canary":
            self._heard_at[message["name"]] = asyncio.get_running_loop().time()
        else:
            self._hear(message)

    async def _keep_canaries(self) -> None:
        while True:
            for canary in self._canaries:
                await self._try(self._send(canary, {"type": "canary", "name": canary}), "canary not sent")
            await asyncio.sleep(CANARY_SECONDS)
            if self.is_heard:
                await self._join_missing()
            if not self.is_heard and asyncio.get_running_loop().time() - self._opened_at >= DEAF_SECONDS:
                await self._reopen()

    async def _reopen(self) -> None:
        """Drops the connections, which may be dead without anybody having been told, and makes new ones."""
        metrics.LAYER_SILENCES.inc()
        log.warning("channel layer not heard: connecting anew")
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=SEND_SECONDS)
        if self._hosts:  # flush of the pub/sub layer closes connections, and deletes nothing
            await self._try(self.layer.flush(), "connections not closed")
        self._listen()

    async def _try(self, work: Awaitable[Any], failure: str) -> bool:
        """Whether it was done, within a second."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await work
        except Exception as error:
            log.warning(failure, error=repr(error))
            return False
        return True


def _message_to(user_id: int, batches: Sequence[CommittedBatch]) -> dict[str, object]:
    events = [[batch.run_id, batch.first_seq, batch.texts] for batch in batches]
    return {"type": "run.events", "user_id": user_id, "batches": events}
