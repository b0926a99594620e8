from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.test import override_settings

from netra.testing.layers import FAULTS, FaultyLayer

GROUP = "user.1"


def make_layer(**faults: Any) -> FaultyLayer:
    return FaultyLayer(InMemoryChannelLayer(capacity=1000), **faults)


class Listener:
    """A channel in the group."""

    def __init__(self, layer: FaultyLayer, channel: str) -> None:
        self._layer = layer
        self._channel = channel

    async def receive(self, count: int) -> list[int]:
        """The numbers of the next messages."""
        async with asyncio.timeout(10):
            return [(await self._layer.receive(self._channel))["number"] for _ in range(count)]

    def is_empty(self) -> bool:
        return self._channel not in self._layer.inner.channels


async def listen(layer: FaultyLayer) -> Listener:
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    return Listener(layer, channel)


async def send(layer: FaultyLayer, *numbers: int) -> None:
    for number in numbers:
        await layer.group_send(GROUP, {"type": "run.events", "number": number})


@pytest.fixture
def layer() -> FaultyLayer:
    return make_layer()


@pytest.fixture
async def listener(layer: FaultyLayer) -> AsyncIterator[Listener]:
    listener = await listen(layer)
    yield listener
    assert listener.is_empty()


async def test_without_faults_it_is_the_layer_inside(layer: FaultyLayer, listener: Listener):
    await send(layer, 1, 2, 3)

    assert await listener.receive(3) == [1, 2, 3]
    assert layer.counts == {"pass": 3}


async def test_what_is_dropped_does_not_come(layer: FaultyLayer, listener: Listener):
    layer.script("pass", "drop")
    await send(layer, 1, 2, 3)

    assert await listener.receive(2) == [1, 3]
    assert layer.counts == {"pass": 2, "drop": 1}


async def test_what_is_duplicated_comes_twice(layer: FaultyLayer, listener: Listener):
    layer.script("duplicate")
    await send(layer, 1, 2)

    assert await listener.receive(3) == [1, 1, 2]
    assert layer.counts == {"duplicate": 1, "pass": 1}


async def test_what_is_reordered_comes_after_the_next(layer: FaultyLayer, listener: Listener):
    layer.script("reorder", "reorder")
    await send(layer, 1, 2, 3, 4)

    assert await listener.receive(4) == [3, 1, 2, 4]
    assert layer.counts == {"reorder": 2, "pass": 2}


async def test_what_is_reordered_waits_for_a_message_to_the_same_place(layer: FaultyLayer, listener: Listener):
    layer.script("reorder")
    await send(layer, 1)
    await layer.group_send("user.2", {"type": "run.events", "number": 2})
    assert listener.is_empty()

    await layer.release()

    assert await listener.receive(1) == [1]


async def test_what_is_delayed_comes_later_and_holds_up_nobody(layer: FaultyLayer, listener: Listener):
    layer.script("delay")
    await send(layer, 1, 2)

    assert await listener.receive(2) == [2, 1]
    assert layer.counts == {"delay": 1, "pass": 1}


async def test_an_outage_refuses_and_loses_what_it_meets(layer: FaultyLayer, listener: Listener):
    layer.delay_seconds = 0.01
    layer.script("delay")
    await send(layer, 1)
    layer.outage = True
    for call in (
        send(layer, 2),
        layer.group_add("user.2", "a"),
        layer.group_discard("user.2", "a"),
        layer.send("a", {}),
    ):
        with pytest.raises(ConnectionError, match="outage"):
            await call
    while layer._late:
        await asyncio.sleep(0)
    layer.outage = False
    await send(layer, 3)

    assert await listener.receive(1) == [3]
    assert layer.counts == {"delay": 1, "outage": 4, "pass": 1}


async def test_messages_to_a_channel_meet_fates_too(layer: FaultyLayer):
    layer.script("drop", "duplicate")
    for number in (1, 2):
        await layer.send("worker", {"type": "work", "number": number})

    assert await Listener(layer, "worker").receive(2) == [2, 2]


async def test_flush_forgets_what_waits(layer: FaultyLayer):
    layer.script("reorder", "delay")
    await send(layer, 1, 2)
    (late,) = layer._late
    await layer.flush()
    await asyncio.wait([late])
    listener = await listen(layer)
    await send(layer, 3)

    assert await listener.receive(1) == [3]
    assert listener.is_empty()


class TestProbabilities:
    async def count(self, messages: int = 2000, **faults: Any) -> Counter[str]:
        layer = make_layer(delay_seconds=0.001, **faults)
        await send(layer, *range(messages))
        return layer.counts

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_what_is_certain_always_happens(self, fault: str):
        assert await self.count(50, **{fault: 1.0}) == {fault: 50}

    async def test_each_fault_happens_as_often_as_it_should(self):
        counts = await self.count(drop=0.4, duplicate=0.2, reorder=0.1, delay=0.1)

        shares = {fate: round(count / 2000, 1) for fate, count in counts.items()}
        assert shares == {"drop": 0.4, "duplicate": 0.2, "reorder": 0.1, "delay": 0.1, "pass": 0.2}

    async def test_the_seed_says_what_happens(self):
        same = [await self.fates(seed=3), await self.fates(seed=3)]

        assert same[0] == same[1] != await self.fates(seed=4)

    async def fates(self, seed: int) -> list[int]:
        """Which of the first messages come."""
        layer = make_layer(seed=seed, drop=0.5)
        listener = await listen(layer)
        await send(layer, *range(50))
        return await listener.receive(layer.counts["pass"])

    async def test_probabilities_may_change_at_any_time(self):
        layer = make_layer()
        await send(layer, 1)
        layer.drop = 1.0
        await send(layer, 2)

        assert layer.counts == {"pass": 1, "drop": 1}


def test_settings_may_name_it():
    inner = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 7}}
    entry = {"BACKEND": "netra.testing.layers.FaultyLayer", "CONFIG": {"inner": inner, "drop": 0.25}}
    with override_settings(CHANNEL_LAYERS={"default": entry}):
        layer = channel_layers["default"]

    assert isinstance(layer, FaultyLayer)
    assert (layer.drop, layer.inner.capacity, layer.extensions) == (0.25, 7, ["groups", "flush"])
