"""What Netra is compared with: the same frames by one `group_send` per event and no log, and by the socket alone.

A Channels application of the usual kind, for a daphne of its own. The client sends {"runs", "events", "rate", "bytes"}
and gets the events of so many runs. `/plain` sends each event to the group that the socket is in; `/bare` does
nothing but make the frames and send them. With REDIS_URL the layer is Netra's Redis one; then `/pubsub` sends on what
comes out of another process, `python -m tests.benchmarks.plain`, which has such orders as lines of its input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from agents.events import AgentThinking, Envelope, encode_frame
from agents.ids import Prefix, new_id
from netra.channel_layers import channel_layer
from notifications.servers import make_no_debug_texts

LOSES_NOTHING = 1_000_000
"""The capacity of the layer: by default Channels keeps 100 messages and drops the others."""
GROUP = "plain.user.1"
SENT_AT_ONCE = 100

_layer = channel_layer("REDIS_URL", secret_key=GROUP)
if "InMemory" in _layer["BACKEND"]:
    _layer["CONFIG"]["capacity"] = LOSES_NOTHING
settings.configure(CHANNEL_LAYERS={"default": _layer})
make_no_debug_texts()  # what Netra spares itself in the server is not what is compared


class Order(msgspec.Struct):
    """`rate` is in events per second of each run, None: as fast as it goes."""

    runs: int
    events: int
    rate: float | None
    bytes: int


class Emitter(AsyncWebsocketConsumer):
    groups = [GROUP]  # noqa: RUF012 - as Channels declares it

    async def connect(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        order = msgspec.json.decode(text_data or "", type=Order)
        self._tasks = [asyncio.create_task(self.emit(order)) for _ in range(order.runs)]

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()

    async def emit(self, order: Order) -> None:
        raise NotImplementedError


class PlainConsumer(Emitter):
    async def emit(self, order: Order) -> None:
        await _send_each(self.channel_layer, order)

    async def run_event(self, message: dict[str, Any]) -> None:
        await self.send(text_data=message["text"])


async def _send_each(layer: Any, order: Order) -> None:
    async for text in _paced(order):
        await layer.group_send(GROUP, {"type": "run.event", "text": text})


class BareConsumer(Emitter):
    groups = []  # noqa: RUF012

    async def emit(self, order: Order) -> None:
        number = 0
        async for text in _paced(order):
            await self.send(text_data=text)
            number += 1
            if number % SENT_AT_ONCE == 0:
                await asyncio.sleep(0)  # what daphne holds goes out


async def _paced(order: Order) -> AsyncIterator[str]:
    """The frames of one run, as the scripted agent paces them."""
    begin = time.monotonic()
    frames = _frames(order)
    for number in range(1, order.events + 2):
        if order.rate:
            await asyncio.sleep(max(0.0, begin + number / order.rate - time.monotonic()))
        yield next(frames)


def _frames(order: Order) -> Iterator[str]:
    """The events of one run, made and encoded as Netra does, and an agent_completed."""
    run_id, thread_id = new_id(Prefix.RUN), new_id(Prefix.THREAD)
    for seq in range(1, order.events + 2):
        event = AgentThinking(reasoning=f"event {seq}".ljust(order.bytes, "."), step_number=seq)
        envelope = Envelope(
            type=event.type if seq <= order.events else "agent_completed",
            run_id=run_id,
            thread_id=thread_id,
            agent_name="plain",
            seq=seq,
            timestamp=datetime.now(UTC),
            data=event,
        )
        yield encode_frame(envelope).text


plain: Any = PlainConsumer.as_asgi()
bare: Any = BareConsumer.as_asgi()
application = ProtocolTypeRouter(
    {"websocket": URLRouter([path("plain", plain), path("pubsub", plain), path("bare", bare)])}
)


async def produce() -> None:
    """Carries out orders, one after the other, until there are no more."""
    layer = get_channel_layer()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = msgspec.json.decode(line, type=Order)
        await asyncio.gather(*(_send_each(layer, order) for _ in range(order.runs)))


if __name__ == "__main__":
    asyncio.run(produce())
