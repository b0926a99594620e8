import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth import get_user_model

from agents.database import in_database
from agents.models import AgentExecution
from agents.runs import CommittedBatch
from notifications.authentication import Credential
from notifications.manager import Identity, WebSocketManager, publish_soon
from notifications.protocol import RateLimited
from notifications.session import Position
from tests.runs import make_user, register_run, until

pytestmark = pytest.mark.django_db(transaction=True)


class Listener:
    """A socket of a user that notes what heads it is told."""

    is_watching = False

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.credential = Credential(user_id=user_id)
        self.identity = Identity(connection_id="conn_1", client="", opened_at=datetime.now(UTC))
        self.told: list[tuple[dict[str, int], bool]] = []
        self.heard: list[tuple[str, int, list[str]]] = []
        self.closed: list[int] = []

    def take_events(self, run_id: str, first_seq: int, texts: Any) -> None:
        self.heard.append((run_id, first_seq, list(texts)))

    def learn_heads(self, heads: Any, *, is_heartbeat: bool) -> None:
        self.told.append((dict(heads), is_heartbeat))

    def take_moved(self) -> dict[str, Position]:
        return {}

    async def end_session(self) -> None:
        self.closed.append(4401)

    async def close(self, code: int) -> None:
        self.closed.append(code)


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


async def test_what_is_committed_reaches_each_socket_of_its_user_and_no_other(make):
    manager, sockets = make(), [Listener(1), Listener(1), Listener(2)]
    manager.start()
    for socket in sockets:
        manager.connected(socket)
        await manager.attend(socket)

    manager.publish([batch(1, 1, "a", "b"), batch(1, 3), batch(1, 3, "c")])
    await until(lambda: sockets[0].heard)

    assert sockets[0].heard == sockets[1].heard == [("run_1", 1, ["a", "b"]), ("run_1", 3, ["c"])]
    assert sockets[2].heard == []


async def test_what_another_thread_has_committed_reaches_the_sockets_here_whatever_the_layer_does(make):
    manager, deaf, other = make(), Listener(1), Listener(2)
    manager.start()
    for socket in (deaf, other):
        manager.connected(socket)  # and it is in no group of the layer's

    await asyncio.to_thread(publish_soon, [batch(1, 3, "c")])

    await until(lambda: deaf.heard)
    assert (deaf.heard, other.heard) == ([("run_1", 3, ["c"])], [])


async def test_what_the_layer_never_told_is_found_within_a_second_or_so(make):
    manager, user = make(), await in_database(make_user)
    run_id = (await in_database(register_run, user)).run_id
    socket = Listener(user)
    manager.connected(socket)
    manager.start()
    await until(lambda: socket.told)
    assert socket.told == [({run_id: 0}, False)]

    await in_database(AgentExecution.objects.update, last_seq=5)
    await until(lambda: len(socket.told) == 2)

    assert socket.told[1] == ({run_id: 5}, False)


async def test_an_end_that_was_decided_long_before_it_could_be_committed_is_found_too(make):
    """Its time of completion lies before anything that the heads' query looks at."""
    manager, user = make(), await in_database(make_user)
    run_id = (await in_database(register_run, user)).run_id
    socket = Listener(user)
    manager.connected(socket)
    manager.start()
    await until(lambda: socket.told)

    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    ended = {"status": "lost", "phase": "lost", "last_seq": 3, "completed_seq": 3, "completed_at": an_hour_ago}
    await in_database(partial(AgentExecution.objects.update, **ended))
    await until(lambda: len(socket.told) == 2)

    assert socket.told[1] == ({run_id: 3}, False)


async def test_a_client_that_does_not_even_take_its_goodbye_delays_nobody(make):
    class Stuck(Listener):
        async def end_session(self) -> None:
            await asyncio.Event().wait()

    ada, bob = await in_database(make_user), await in_database(make_user)
    run_id = (await in_database(register_run, bob)).run_id
    await in_database(get_user_model().objects.filter(pk=ada).update, is_active=False)
    stuck, socket = Stuck(ada), Listener(bob)
    manager = make(heartbeat=0.1)
    for each in (stuck, socket):
        manager.connected(each)
    manager.start()
    await until(lambda: socket.told)

    await in_database(AgentExecution.objects.update, last_seq=5)
    await until(lambda: any(heads == {run_id: 5} for heads, _ in socket.told))


async def test_a_client_that_does_not_take_its_goodbye_does_not_keep_the_server_from_stopping(make):
    class Stuck(Listener):
        async def close(self, code: int) -> None:
            await asyncio.Event().wait()

    manager, stuck, socket = make(), Stuck(1), Listener(2)
    for each in (stuck, socket):
        manager.connected(each)
    manager.start()

    async with asyncio.timeout(5):
        await manager.stop()

    assert socket.closed == [1012]


async def test_what_goes_wrong_with_one_comparison_does_not_end_them(make):
    class Broken(Listener):
        def learn_heads(self, heads: Any, *, is_heartbeat: bool) -> None:
            super().learn_heads(heads, is_heartbeat=is_heartbeat)
            if len(self.told) == 1:
                raise RuntimeError("a bug")

    manager, socket = make(heartbeat=0.1), Broken(await in_database(make_user))
    manager.connected(socket)
    manager.start()

    await until(lambda: len(socket.told) >= 2)


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
    assert sockets[0].told[1] == sockets[1].told[1] == ({live: 0, ended: 3}, True)
    assert sockets[2].told[1] == ({}, True)


async def test_a_socket_that_is_gone_is_told_nothing(make):
    manager, socket = make(heartbeat=0.05), Listener(1)
    manager.connected(socket)
    await manager.disconnected(socket)
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
