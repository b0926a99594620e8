"""What operators are told of sockets: by real sockets of real services, and by processes that come and go."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth import get_user_model

from agents.database import in_database, patiently
from agents.ids import Prefix, new_id
from notifications.authentication import Credential
from notifications.manager import Identity, WebSocketManager
from notifications.models import ConnectedSocket, SocketProcess
from notifications.presence import ROWS, Presence, SocketView, processes_with_sockets, sockets_of, tell
from notifications.session import Position
from tests.databases import database_away
from tests.notifications.test_consumers import Netra
from tests.runs import make_user, until, until_in_database

pytestmark = pytest.mark.django_db(transaction=True)

OFTEN = 0.02


class Plug:
    """A socket that goes wherever a test says."""

    def __init__(self, user_id: int, *, is_watching: bool = False) -> None:
        self.user_id = user_id
        self.is_watching = is_watching
        self.credential = Credential(user_id=user_id)
        self.identity = Identity(connection_id=new_id(Prefix.CONNECTION), client="a plug", opened_at=datetime.now(UTC))
        self.moved: dict[str, Position] = {}

    def take_moved(self) -> dict[str, Position]:
        moved, self.moved = self.moved, {}
        return moved

    def take_events(self, run_id: str, first_seq: int, texts: Any) -> None: ...

    def learn_heads(self, heads: Any, *, is_heartbeat: bool) -> None: ...

    async def end_session(self) -> None: ...

    async def close(self, code: int) -> None: ...


@pytest.fixture
def manager() -> WebSocketManager:
    return WebSocketManager(layer=InMemoryChannelLayer(), heartbeat=60, starts_per_minute=2)


@pytest.fixture
async def presence(transactional_db: None, manager: WebSocketManager) -> AsyncIterator[Presence]:
    made = Presence(manager, every=OFTEN)
    made.start()
    yield made
    await made.stop()


@pytest.fixture
async def netra(transactional_db: None, settings: Any) -> AsyncIterator[Netra]:
    made = Netra()
    made.services.presence = Presence(made.services.manager, every=OFTEN)
    made.services.start()
    yield made
    await made.close()


async def read_sockets(user_id: int) -> list[SocketView]:
    return await in_database(sockets_of, user_id)


async def test_a_socket_is_told_of_with_what_its_client_has_acked_and_is_gone_when_it_leaves(netra):
    ada = await in_database(make_user, "ada")
    socket = await netra.connect(ada, agent=b"Chat\x00 of Ada/1.0")
    established = await socket.hear()
    run_id = (await socket.begin())["run_id"]
    events = await socket.hear_until("agent_completed")
    await until_in_database(
        lambda: [view.places for view in sockets_of(ada)] == [{run_id: Position(len(events), None)}]
    )

    await socket.say("ack", cursors={run_id: 2})
    await until_in_database(lambda: sockets_of(ada)[0].places == {run_id: Position(len(events), 2)})

    [view] = await read_sockets(ada)
    assert (view.connection_id, view.client) == (established["connection_id"], "Chat of Ada/1.0")
    assert [process.sockets for process in await in_database(processes_with_sockets)] == [1]
    assert await read_sockets(await in_database(make_user, "bob")) == []

    await socket.disconnect(timeout=5)
    await until_in_database(lambda: not sockets_of(ada))
    assert [process.sockets for process in await in_database(processes_with_sockets)] == [0]


async def test_a_process_that_has_stopped_leaves_nothing_behind(transactional_db, manager):
    ada, presence = await in_database(make_user, "ada"), Presence(manager, every=OFTEN)
    manager.connected(Plug(ada))
    presence.start()
    await until_in_database(lambda: sockets_of(ada))

    await presence.stop()

    assert await in_database(SocketProcess.objects.count) == await in_database(ConnectedSocket.objects.count) == 0


async def test_a_process_without_sockets_says_nothing(presence):
    await asyncio.sleep(10 * OFTEN)

    assert await in_database(SocketProcess.objects.count) == 0


async def test_those_who_look_on_are_not_told_of_as_the_users_sockets(presence, manager):
    ada = await in_database(make_user, "ada")
    manager.connected(Plug(ada, is_watching=True))
    own = Plug(ada)
    manager.connected(own)

    await until_in_database(lambda: sockets_of(ada))

    assert [view.connection_id for view in await read_sockets(ada)] == [own.identity.connection_id]


async def test_a_crowd_is_told_of_bit_by_bit(presence, manager):
    ada = await in_database(make_user, "ada")
    for _ in range(2 * ROWS + 1):
        manager.connected(Plug(ada))

    counts: list[int] = []

    def all_told() -> bool:
        counts.append(ConnectedSocket.objects.count())
        return counts[-1] == 2 * ROWS + 1

    await until_in_database(all_told)
    assert {0, ROWS, 2 * ROWS, 2 * ROWS + 1}.issuperset(counts)


async def test_while_the_database_is_away_a_socket_serves_and_is_told_of_later(netra):
    ada = await in_database(make_user, "ada")
    early, late = await netra.connect(ada), await netra.connect(ada)
    await until_in_database(lambda: len(sockets_of(ada)) == 2)
    await early.hear()

    away = database_away()
    await asyncio.to_thread(away.__enter__)
    await early.say("ping", id="1")
    assert (await early.hear())["type"] == "pong"
    await late.disconnect(timeout=5)
    await asyncio.sleep(10 * OFTEN)
    await asyncio.to_thread(away.__exit__, None, None, None)

    await patiently(sockets_of, ada)  # the pool opens its connections anew
    await until_in_database(lambda: len(sockets_of(ada)) == 1, 20)


async def test_what_the_database_refuses_is_tried_again(presence, manager):
    ada = await in_database(make_user, "ada")
    refused = Plug(ada)
    refused.user_id = None  # type: ignore[assignment]
    manager.connected(refused)
    await asyncio.sleep(10 * OFTEN)
    manager.connected(Plug(ada))

    refused.user_id = ada
    await until_in_database(lambda: len(sockets_of(ada)) == 2)


async def test_a_process_that_was_taken_for_dead_comes_back_with_all_its_sockets(presence, manager):
    ada = await in_database(make_user, "ada")
    plugs = [Plug(ada) for _ in range(3)]
    for plug in plugs:
        manager.connected(plug)
    await until_in_database(lambda: len(sockets_of(ada)) == 3)

    await in_database(SocketProcess.objects.all().delete)
    await until_in_database(lambda: len(sockets_of(ada)) == 3)

    assert await in_database(SocketProcess.objects.count) == 1


async def test_only_the_runs_in_which_a_socket_got_on_last_are_told(presence, manager):
    plug = Plug(await in_database(make_user, "ada"))
    manager.connected(plug)
    for number in range(30):
        plug.moved = {f"run_{number}": Position(number, number)}
        await until(lambda: not plug.moved)
    plug.moved = {"run_5": Position(99, 99)}
    await until_in_database(lambda: any(Position(99, 99) in view.places.values() for view in sockets_of(plug.user_id)))

    [view] = await read_sockets(plug.user_id)
    assert view.places.keys() == {"run_5", *(f"run_{number}" for number in range(11, 30))}


async def test_a_user_who_is_deleted_meanwhile_keeps_nobody_from_being_told_of(presence, manager):
    ada = await in_database(make_user, "ada")
    manager.connected(Plug(ada + 1))
    manager.connected(Plug(ada))

    await until_in_database(lambda: sockets_of(ada))

    await in_database(get_user_model().objects.filter(pk=ada).delete)
    assert await read_sockets(ada) == []


def test_the_sockets_of_a_process_that_died_are_hidden_and_then_cleared_away():
    ada, now = make_user("ada"), datetime.now(UTC)
    row = ConnectedSocket(connection_id="conn_1", user_id=ada, opened_at=now)
    dead = tell(None, told=[row], gone=[], clears=False, now=now)
    assert sockets_of(ada, now)

    later = now + timedelta(seconds=11)
    assert not sockets_of(ada, later)
    assert not processes_with_sockets(later)

    other = tell(None, told=[], gone=[], clears=True, now=now + timedelta(seconds=61))
    assert other != dead
    assert list(SocketProcess.objects.values_list("pk", flat=True)) == [other]
    assert ConnectedSocket.objects.count() == 0


def test_telling_the_same_twice_changes_nothing():
    ada, now = make_user("ada"), datetime.now(UTC)

    def told(places: str) -> ConnectedSocket:
        return ConnectedSocket(connection_id="conn_1", user_id=ada, opened_at=now, places=places)

    process = tell(None, told=[told("{}")], gone=["conn_0"], clears=False)
    for _ in range(2):
        assert tell(process, told=[told('{"run_1":[3,2]}')], gone=["conn_0"], clears=False) == process

    [view] = sockets_of(ada)
    assert view.places == {"run_1": Position(3, 2)}


def test_the_cost_of_telling_does_not_grow_with_the_sockets(django_assert_num_queries):
    ada, now = make_user("ada"), datetime.now(UTC)
    rows = [ConnectedSocket(connection_id=f"conn_{number}", user_id=ada, opened_at=now) for number in range(50)]
    process = tell(None, told=[], gone=[], clears=False)

    with django_assert_num_queries(5):  # two of them begin and end the transaction
        tell(process, told=rows, gone=["conn_x"], clears=False)
    with django_assert_num_queries(1):
        sockets_of(ada)
    with django_assert_num_queries(1):
        processes_with_sockets()
