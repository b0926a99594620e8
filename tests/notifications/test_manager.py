import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from agents.database import in_database
from agents.models import AgentExecution
from agents.runs import CommittedBatch
from notifications.authentication import Credential
from notifications.groups import group_of
from notifications.manager import QUEUED_BATCHES, WebSocketManager
from notifications.protocol import RateLimited
from tests.runs import make_user, register_run, until

pytestmark = pytest.mark.django_db(transaction=True)


class Listener:
    """A socket of a user that notes what heads it is told."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.credential = Credential(user_id=user_id)
        self.told: list[tuple[dict[str, int], bool]] = []
        self.closed: list[int] = []

    def learn_heads(self, heads: Any, *, is_heartbeat: bool) -> None:
        self.told.append((dict(heads), is_heartbeat))

    async def end_session(self) -> None:
        self.closed.append(4401)

    async def close(self, code: int) -> None:
        self.closed.append(code)


class BrokenLayer(InMemoryChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        raise OSError("away")


class HangingLayer(InMemoryChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await asyncio.sleep(60)


@pytest.fixture
async def make(transactional_db):
    made: list[WebSocketManager] = []

    def build(layer: Any = None, heartbeat: float = 60.0) -> WebSocketManager:
        manager = WebSocketManager(layer=layer or InMemoryChannelLayer(), heartbeat=heartbeat, starts_per_minute=2)
        made.append(manager)
        return manager

    yield build
    for manager in made:
        await manager.stop()


def batch(user: int, first: int, *texts: str) -> CommittedBatch:
    return CommittedBatch(user_id=user, run_id="run_1", first_seq=first, texts=list(texts))


async def test_a_batch_is_one_message_to_its_users_group_and_to_no_other(make):
    manager = make()
    manager.start()
    for user in (1, 2):
        await manager.layer.group_add(group_of(user), f"channel{user}")

    manager.publish([batch(1, 1, "a", "b"), batch(1, 3, "c")])

    async with asyncio.timeout(5):
        messages = [await manager.layer.receive("channel1") for _ in range(2)]
    assert messages == [
        {"type": "run.events", "run_id": "run_1", "first_seq": 1, "texts": ["a", "b"]},
        {"type": "run.events", "run_id": "run_1", "first_seq": 3, "texts": ["c"]},
    ]
    assert "channel2" not in manager.layer.channels


async def test_a_commit_without_events_is_not_published(make):
    manager = make(BrokenLayer())
    manager.start()
    manager.publish([batch(1, 1)])
    await asyncio.sleep(0.05)

    assert manager.publish_failures == 0


@pytest.mark.parametrize("layer", [BrokenLayer, HangingLayer])
async def test_what_the_layer_loses_is_counted_and_found_within_a_second_or_so(make, layer):
    manager, user = make(layer()), await in_database(make_user)
    run_id = (await in_database(register_run, user)).run_id
    await in_database(AgentExecution.objects.update, last_seq=5)
    socket = Listener(user)
    manager.connected(socket)
    manager.start()
    manager.publish([batch(user, 1, "a")])

    await until(lambda: socket.told, 4.0)

    assert manager.publish_failures == 1
    assert socket.told[0] == ({run_id: 5}, False)


async def test_a_full_queue_loses_no_more_than_time(make):
    manager = make()
    manager.publish([batch(1, number, "x") for number in range(1, QUEUED_BATCHES + 3)])

    assert manager.publish_failures == 2


async def test_every_heartbeat_tells_each_socket_the_heads_of_its_user(make):
    ada, bob = await in_database(make_user), await in_database(make_user)
    live, ended = [(await in_database(register_run, ada)).run_id for _ in range(2)]
    await in_database(
        AgentExecution.objects.filter(run_id=ended).update,
        status="lost",
        phase="lost",
        last_seq=3,
        completed_seq=3,
        completed_at=datetime.now(UTC),
    )
    manager, sockets = make(heartbeat=0.1), [Listener(ada), Listener(ada), Listener(bob)]
    counts = [manager.connected(socket) for socket in sockets]
    manager.start()
    await until(lambda: all(len(socket.told) >= 2 for socket in sockets))

    assert counts == [1, 2, 1]
    assert sockets[0].told[0] == sockets[1].told[0] == ({live: 0, ended: 3}, True)
    assert sockets[2].told[0] == ({}, True)


async def test_a_socket_that_is_gone_is_told_nothing(make):
    manager, socket = make(heartbeat=0.05), Listener(1)
    manager.connected(socket)
    manager.disconnected(socket)
    manager.start()
    await asyncio.sleep(0.2)

    assert socket.told == []


async def test_starts_are_counted_for_each_user_alone(make):
    manager = make()

    for user_id in (1, 1, 2):
        manager.admit_start(user_id)
    with pytest.raises(RateLimited) as refused:
        manager.admit_start(1)
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 60
