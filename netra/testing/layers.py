"""A channel layer that fails as real ones do, and counts what it did."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, TypeVar

import structlog
from channels.layers import BaseChannelLayer
from django.utils.module_loading import import_string

Fate = Literal["pass", "drop", "duplicate", "reorder", "delay"]
Message = Mapping[str, Any]
Send = Callable[[], Awaitable[None]]
Value = TypeVar("Value")

FAULTS: Final[tuple[Fate, ...]] = ("drop", "duplicate", "reorder", "delay")

log = structlog.get_logger(__name__)


class FaultyLayer(BaseChannelLayer):
    """Wraps any channel layer. What becomes of a message is drawn when it is sent, to a channel or to a group.

    `drop`, `duplicate`, `reorder` and `delay` are the probabilities of each, together 1 at most; the same seed draws
    the same. A reordered message waits until another one has gone to the same place, or until `release`; a delayed
    one comes `delay_seconds` later. During an `outage` whatever is sent, joined or left raises ConnectionError.
    `counts` has what was drawn, and each call that the outage refused. All may be changed at any time.

    `inner` may be an entry of CHANNEL_LAYERS too, so that this class can be one itself.
    """

    def __init__(
        self,
        inner: BaseChannelLayer | Mapping[str, Any],
        *,
        seed: int = 0,
        drop: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay: float = 0.0,
        delay_seconds: float = 0.2,
    ) -> None:
        super().__init__()
        given: Any = inner if isinstance(inner, BaseChannelLayer) else _build(inner)
        self.inner = given
        self.extensions: list[str] = list(given.extensions)
        self.drop = drop
        self.duplicate = duplicate
        self.reorder = reorder
        self.delay = delay
        self.delay_seconds = delay_seconds
        self.outage = False
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311 - not a secret
        self._script: deque[Fate] = deque()
        self._held: defaultdict[str, list[Send]] = defaultdict(list)
        self._late: set[asyncio.Task[None]] = set()

    def script(self, *fates: Fate) -> None:
        """Says what becomes of the next messages, one each; after them it is drawn again."""
        self._script += fates

    async def release(self) -> None:
        """Sends at once what still waits for another message."""
        for place in list(self._held):
            await self._release(place)

    # ─ a layer's methods

    async def send(self, channel: str, message: Message) -> None:
        await self._meet_fate(channel, partial(self.inner.send, channel, dict(message)))

    async def group_send(self, group: str, message: Message) -> None:
        await self._meet_fate(group, partial(self.inner.group_send, group, dict(message)))

    async def group_add(self, group: str, channel: str) -> None:
        self._require_no_outage()
        await self.inner.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._require_no_outage()
        await self.inner.group_discard(group, channel)

    async def receive(self, channel: str) -> Any:
        return await self.inner.receive(channel)

    async def new_channel(self, prefix: str = "specific.") -> str:
        return str(await self.inner.new_channel(prefix))

    async def flush(self) -> None:
        self._forget()
        await self.inner.flush()

    async def close(self) -> None:
        self._forget()
        await self.inner.close()

    # ─ faults

    async def _meet_fate(self, place: str, send: Send) -> None:
        self._require_no_outage()
        fate = self._script.popleft() if self._script else self._draw()
        self._note(fate)
        match fate:
            case "pass":
                await send()
            case "drop":
                return
            case "duplicate":
                await send()
                await send()
            case "reorder":
                self._held[place].append(send)
                return
            case "delay":
                self._send_later(send)
                return
        await self._release(place)

    def _draw(self) -> Fate:
        """One number a message, whatever the probabilities are: changing one does not shift the others' luck."""
        number = self._chance.random()
        for fate in FAULTS:
            number -= getattr(self, fate)
            if number < 0:
                return fate
        return "pass"

    def _note(self, what: str) -> None:
        self.counts[what] += 1
        if what != "pass":
            log.info("layer fault", fault=what)

    def _require_no_outage(self) -> None:
        if self.outage:
            self._note("outage")
            raise ConnectionError("The channel layer is away: an outage of the fault injector's.")

    async def _release(self, place: str) -> None:
        for send in self._held.pop(place, ()):
            await send()

    def _send_later(self, send: Send) -> None:
        task = asyncio.create_task(self._send_after_delay(send), name="delayed message")
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send_after_delay(self, send: Send) -> None:
        await asyncio.sleep(self.delay_seconds)
        if not self.outage:
            await send()

    def _forget(self) -> None:
        self._held.clear()
        for task in self._late:
            task.cancel()


def _build(entry: Mapping[str, Any]) -> BaseChannelLayer:
    layer: BaseChannelLayer = import_string(entry["BACKEND"])(**entry.get("CONFIG", {}))
    return layer
