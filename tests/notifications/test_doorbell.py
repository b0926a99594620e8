"""The doorbell over real Redis servers, which are stopped, cut off and frozen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from agents.runs import CommittedBatch
from netra.testing.proxy import Proxy
from netra.testing.redis import RedisServer
from notifications import metrics
from notifications.doorbell import MESSAGE_CHARACTERS, QUEUED_BATCHES, Doorbell
from notifications.groups import group_of
from tests.runs import until

# redis-py drops connections that are cut while they open; the garbage collector closes them, and complains.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <function StreamWriter.__del__")

HEALED_SECONDS = 20.0


class Ear:
    """A process that listens, and rings."""

    def __init__(self, layer: Any, hosts: int) -> None:
        self.messages: list[dict[str, Any]] = []
        self.layer = layer
        self.doorbell = Doorbell(layer, lambda message: self.messages.append(dict(message)), hosts=hosts)

    @property
    def heard(self) -> list[tuple[int, str, int, list[str]]]:
        return [(message["user_id"], *batch) for message in self.messages for batch in message["batches"]]


Make = Callable[..., Ear]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Ear] = []

    def build(*urls: str, layer: Any = None) -> Ear:
        hosts = [{"address": url, "socket_timeout": 15, "socket_connect_timeout": 3} for url in urls]
        ear = Ear(layer or RedisPubSubChannelLayer(hosts=hosts), len(urls))
        made.append(ear)
        return ear

    yield build
    for ear in made:
        await ear.doorbell.stop()
        await ear.layer.flush()


def batch(user: int, first: int, *texts: str) -> CommittedBatch:
    return CommittedBatch(user_id=user, run_id="run_1", first_seq=first, texts=list(texts))


async def ring_until_heard(ringer: Ear, listener: Ear, user: int, first: int) -> None:
    """Rings again and again: what is rung while the layer is away is gone."""
    async with asyncio.timeout(HEALED_SECONDS):
        while (user, "run_1", first, ["x"]) not in listener.heard:
            ringer.doorbell.ring(batch(user, first, "x"))
            await asyncio.sleep(0.1)


async def test_another_process_hears_of_its_users_and_of_nobody_else(make: Make, redis_server: RedisServer) -> None:
    web, worker = make(redis_server.url), make(redis_server.url)
    web.doorbell.start()
    worker.doorbell.start()
    await web.doorbell.join(1)
    await until(lambda: web.doorbell.is_heard)

    await ring_until_heard(worker, web, 1, 1)
    for user in (2, 1):
        worker.doorbell.ring(batch(user, 7, "a", "b"))
    await until(lambda: (1, "run_1", 7, ["a", "b"]) in web.heard)

    assert {user for user, *_ in web.heard} == {1}
    assert worker.heard == []


async def test_who_leaves_hears_no_more(make: Make, redis_server: RedisServer) -> None:
    web = make(redis_server.url)
    web.doorbell.start()
    await web.doorbell.join(1)
    await ring_until_heard(web, web, 1, 1)

    await web.doorbell.leave(1)
    await web.doorbell.join(2)
    web.doorbell.ring(batch(1, 5, "late"))
    await ring_until_heard(web, web, 2, 1)

    assert (1, "run_1", 5, ["late"]) not in web.heard


async def test_what_gathers_for_a_user_goes_out_together_in_order(make: Make) -> None:
    ear = make(layer=InMemoryChannelLayer())
    large = "x" * MESSAGE_CHARACTERS
    for first, text in [(1, "a"), (2, large), (3, "c")]:
        ear.doorbell.ring(batch(1, first, text))
    ear.doorbell.ring(batch(2, 1, "b"))
    ear.doorbell.start()
    for user in (1, 2):
        await ear.doorbell.join(user)
    await until(lambda: len(ear.heard) == 4)

    assert [(message["user_id"], len(message["batches"])) for message in ear.messages] == [(1, 2), (2, 1), (1, 1)]
    assert [first for user, _, first, _ in ear.heard if user == 1] == [1, 2, 3]


class SlowToJoin(InMemoryChannelLayer):
    """As Redis is when it has much to do."""

    async def group_add(self, group: str, channel: str) -> None:
        await asyncio.sleep(0.3 if group.startswith(group_of(1)[:-1]) else 0)
        await super().group_add(group, channel)


async def test_many_groups_that_are_slow_to_join_do_not_make_it_deaf(make: Make) -> None:
    ear, users = make(layer=SlowToJoin()), range(1, 11)
    for user in users:
        await ear.doorbell.join(user)
    silences = metrics.LAYER_SILENCES._value.get()
    ear.doorbell.start()

    for user in users:
        await ring_until_heard(ear, ear, user, 1)

    assert metrics.LAYER_SILENCES._value.get() == silences


async def test_what_does_not_fit_is_counted(make: Make) -> None:
    ear = make(layer=InMemoryChannelLayer())
    for number in range(QUEUED_BATCHES + 2):
        ear.doorbell.ring(batch(1, number, "x"))

    assert ear.doorbell.failures == 2


async def test_when_redis_comes_back_so_do_the_groups(make: Make) -> None:
    with RedisServer() as redis:
        web, worker = make(redis.url), make(redis.url)
        for ear in (web, worker):
            ear.doorbell.start()
        await web.doorbell.join(1)
        await ring_until_heard(worker, web, 1, 1)
        redis.kill()
        await until(lambda: not web.doorbell.is_heard)
        await web.doorbell.join(2)
        worker.doorbell.ring(batch(1, 2, "lost"))
        await until(lambda: worker.doorbell.failures > 0)

        redis.start()

        await ring_until_heard(worker, web, 1, 3)
        await ring_until_heard(worker, web, 2, 4)
        await until(lambda: web.doorbell.is_heard)


@pytest.mark.parametrize("mode", ["black hole", "reset"])
async def test_a_connection_that_has_gone_deaf_is_made_anew(make: Make, redis_server: RedisServer, mode: Any) -> None:
    with Proxy(redis_server.url) as proxy:
        web, worker = make(proxy.url), make(redis_server.url)
        for ear in (web, worker):
            ear.doorbell.start()
        await web.doorbell.join(1)
        await ring_until_heard(worker, web, 1, 1)

        proxy.set_mode(mode)
        await until(lambda: not web.doorbell.is_heard)
        async with asyncio.timeout(3):
            await web.doorbell.join(2)
        proxy.set_mode("pass")

        await ring_until_heard(worker, web, 1, 2)
        await ring_until_heard(worker, web, 2, 3)


async def test_users_are_spread_over_several_servers_and_each_is_listened_to(
    make: Make, redis_server: RedisServer
) -> None:
    with RedisServer() as second:
        web = make(redis_server.url, second.url)
        web.doorbell.start()
        users = range(1, 9)
        for user in users:
            await web.doorbell.join(user)
        for user in users:
            await ring_until_heard(web, web, user, 1)
        await until(lambda: web.doorbell.is_heard)

        second.kill()

        await until(lambda: not web.doorbell.is_heard)
