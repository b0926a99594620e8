"""The socket, with real services on the test database and the layer in memory; only the server is left out."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from msgspec.structs import replace

from agents.database import in_database
from agents.ids import Prefix, new_id
from agents.models import AgentExecution
from agents.registry import AgentRegistry
from netra.services import Services
from notifications.credentials import issue
from notifications.models import AccessToken
from notifications.routing import build_router
from notifications.session import DeliverySession
from tests.runs import make_user, read_log, until

pytestmark = pytest.mark.django_db(transaction=True)


class Netra:
    """Services, an agent that thinks as often as params say and then waits for `gate`, and sockets."""

    def __init__(self) -> None:
        self.registry = AgentRegistry()
        self.gate = asyncio.Event()
        gate = self.gate

        class Agent:
            async def execute(self, context: Any) -> Any:
                for number in range(context.request.params.get("thoughts", 0)):
                    await context.think(f"{number}")
                if context.request.params.get("wait"):
                    await gate.wait()
                return "done"

        self.registry.register_agent_safely("test", Agent)
        self.services = Services(self.registry)
        self.sockets: list[Socket] = []

    async def connect(self, user: int, *, agent: bytes = b"tests") -> "Socket":
        token = await in_database(make_token, user)
        socket = self.open([(b"authorization", f"Bearer {token}".encode()), (b"user-agent", agent)])
        accepted, _ = await socket.connect(5)
        assert accepted
        self.sockets.append(socket)
        return socket

    def open(self, headers: list[tuple[bytes, bytes]], path: str = "/ws/") -> "Socket":
        services = self.services
        router = build_router(
            is_ready=services.health.is_ready,
            manager=services.manager,
            intake=services.intake,
            limits=services.socket_limits,
        )
        return Socket(router, path, headers=headers)

    async def close(self) -> None:
        self.gate.set()
        for socket in self.sockets:
            await socket.disconnect(timeout=5)
        await self.services.stop()
        thread = self.services.journal._thread
        if not thread._shutdown:
            await asyncio.get_running_loop().run_in_executor(thread, lambda: connection.close())  # noqa: PLW0108 - the connection of that thread


class Socket(WebsocketCommunicator):
    async def say(self, type_: str, **fields: Any) -> None:
        await self.send_to(text_data=json.dumps({"type": type_, **fields}))

    async def hear(self) -> dict[str, Any]:
        frame: dict[str, Any] = await self.receive_json_from(5)
        return frame

    async def hear_until(self, type_: str) -> list[dict[str, Any]]:
        heard = [await self.hear()]
        while heard[-1]["type"] != type_:
            heard.append(await self.hear())
        return heard

    async def begin(self, request_id: str = "r1", **fields: Any) -> dict[str, Any]:
        await self.say("start_agent", **{"request_id": request_id, "agent": "test", "message": "Go.", **fields})
        return (await self.hear_until("run_accepted"))[-1]


def make_token(user: int) -> str:
    return issue(get_user_model().objects.get(pk=user), AccessToken.Kind.API_TOKEN)


@pytest.fixture
async def netra(transactional_db: None, settings: Any) -> AsyncIterator[Netra]:
    settings.NETRA_STOP_GRACE_SECONDS = 1
    made = Netra()
    made.services.start()
    yield made
    await made.close()


@pytest.fixture
async def ada(transactional_db: None) -> int:
    return await in_database(make_user, "ada")


@pytest.fixture
async def socket(netra: Netra, ada: int) -> Socket:
    made = await netra.connect(ada)
    assert (await made.hear())["type"] == "connection_established"
    return made


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["seq"] for frame in frames if "seq" in frame]


async def test_the_first_frame_says_who_is_connected(netra, ada):
    hello = await (await netra.connect(ada)).hear()

    assert (hello["type"], hello["protocol"], hello["user_id"], hello["runs"]) == (
        "connection_established",
        1,
        str(ada),
        [],
    )
    assert hello["connection_id"].startswith("conn_")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer wrong")],
        [(b"host", b"localhost"), (b"origin", b"http://["), (b"cookie", b"sessionid=x")],
    ],
    ids=["nothing", "wrong token", "Origin that is no URL"],
)
async def test_without_valid_credentials_there_is_no_upgrade(netra, headers):
    accepted, _ = await netra.open(headers).connect(5)

    assert not accepted


def away(scope: Any) -> None:
    raise OperationalError("no route to host")


def broken(scope: Any) -> None:
    raise LookupError("a bug")


@pytest.mark.parametrize("look", [away, broken, None], ids=["no database", "a bug", "stopping"])
async def test_who_cannot_be_served_now_is_told_why_and_comes_back(netra, ada, monkeypatch, look):
    if look is not None:
        monkeypatch.setattr("notifications.consumers.authenticate", look)
    else:
        netra.services.health.stop()

    socket = await netra.connect(ada)

    error = await socket.hear()
    assert (error["type"], error["code"], error["retry_after"]) == ("error", "not_ready", 2)
    assert await socket.receive_output(5) == {"type": "websocket.close", "code": 1012}


async def test_another_path_is_refused(netra):
    accepted, _ = await netra.open([], "/elsewhere").connect(5)

    assert not accepted


async def test_a_start_is_accepted_then_the_runs_events_come_in_order(socket):
    accepted = await socket.begin(params={"thoughts": 20})
    heard = await socket.hear_until("agent_completed")

    assert (accepted["request_id"], accepted["duplicate"], accepted["queue_position"]) == ("r1", False, 0)
    assert seqs(heard) == [*range(1, 24)]
    assert {frame["run_id"] for frame in heard} == {accepted["run_id"]}
    assert heard == await in_database(read_log, accepted["run_id"])


async def test_a_message_sent_at_once_after_connecting_is_answered(netra, ada):
    socket = await netra.connect(ada)
    await socket.say("ping", id="x")

    assert [(await socket.hear())["type"] for _ in range(2)] == ["connection_established", "pong"]


async def test_a_ping_is_answered_while_a_run_goes_on(netra, socket):
    await socket.begin(params={"wait": True})
    await socket.say("ping", id="p")

    assert (await socket.hear_until("pong"))[-1]["id"] == "p"


async def test_the_same_start_again_is_the_same_run(socket):
    first = await socket.begin()
    await socket.hear_until("agent_completed")
    again = await socket.begin()

    assert (again["run_id"], again["duplicate"]) == (first["run_id"], True)
    assert await in_database(AgentExecution.objects.count) == 1


async def test_every_socket_of_the_user_hears_and_nobody_elses(netra, ada, socket):
    other = await netra.connect(ada)
    bobs = await netra.connect(await in_database(make_user, "bob"))
    await bobs.hear()
    await socket.begin()

    assert seqs(await socket.hear_until("agent_completed")) == seqs(await other.hear_until("agent_completed"))
    assert await bobs.receive_nothing(0.2)


async def test_a_socket_that_connects_in_the_middle_hears_of_the_run_and_can_have_all_of_it(netra, ada, socket):
    run_id = (await socket.begin(params={"thoughts": 3, "wait": True}))["run_id"]
    await socket.hear_until("agent_thinking")
    while (await socket.hear())["seq"] < 5:
        pass
    late = await netra.connect(ada)
    hello = await late.hear()
    assert [(run["run_id"], run["last_seq"]) for run in hello["runs"]] == [(run_id, 5)]

    await late.say("resume", cursors={run_id: 0}, id="all")
    replay = await late.hear_until("caught_up")
    netra.gate.set()
    live = await late.hear_until("agent_completed")

    assert (replay[-1]["id"], replay[-1]["runs"]) == ("all", {run_id: 5})
    assert seqs(replay) == [1, 2, 3, 4, 5]
    assert seqs(live) == [6]


async def test_a_cancel_ends_the_run(netra, socket):
    run_id = (await socket.begin(params={"wait": True}))["run_id"]
    await socket.hear_until("agent_thinking")
    await socket.say("cancel_run", run_id=run_id)
    heard = await socket.hear_until("agent_completed")

    assert {"type": "cancel_accepted", "run_id": run_id, "status": "running"} in heard
    assert heard[-1]["data"]["status"] == "cancelled"


async def test_somebody_elses_run_answers_like_an_unknown_one(netra, socket):
    bobs = await netra.connect(await in_database(make_user, "bob"))
    theirs = (await bobs.begin())["run_id"]
    answers = []
    for run_id in (theirs, new_id(Prefix.RUN)):
        await socket.say("cancel_run", run_id=run_id)
        answers.append(await socket.hear())
        await socket.say("resume", cursors={run_id: 0}, id="x")
        answers.append(await socket.hear())
        assert await socket.hear() == {"type": "caught_up", "id": "x", "runs": {}}

    assert [answer.pop("run_id") for answer in answers] == [theirs, theirs, run_id, run_id]
    assert answers[:2] == answers[2:]
    assert {answer["code"] for answer in answers} == {"not_found"}


async def test_a_cursor_above_the_head_is_invalid_and_the_others_are_served(socket):
    first = (await socket.begin())["run_id"]
    await socket.hear_until("agent_completed")
    second = (await socket.begin("r2"))["run_id"]
    await socket.hear_until("agent_completed")
    await socket.say("resume", cursors={first: 99, second: 1}, id="x")

    error = await socket.hear()
    assert (error["code"], error["run_id"]) == ("invalid_cursor", first)
    replay = await socket.hear_until("caught_up")
    assert seqs(replay) == [2, 3]
    assert replay[-1]["runs"] == {second: 3}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_message"),
        ('{"type":"dance"}', "unknown_type"),
        ('{"type":"ping","x":1}', "invalid_message"),
        ('{"type":"ping","id":"' + "x" * 70_000 + '"}', "message_too_large"),
        ('{"type":"start_agent","request_id":"r","agent":"gone","message":"Go."}', "unknown_agent"),
        ('{"type":"start_agent","request_id":"r","agent":"test","message":" "}', "invalid_message"),
        ('{"type":"start_agent","request_id":"r","agent":"test","message":"a","thread_id":"x"}', "not_found"),
    ],
)
async def test_a_bad_message_gets_its_error_and_the_socket_stays_usable(socket, text, code):
    await socket.send_to(text_data=text)
    assert (await socket.hear())["code"] == code
    assert await in_database(AgentExecution.objects.count) == 0

    await socket.say("ping")
    assert (await socket.hear())["type"] == "pong"


async def test_a_binary_frame_gets_an_error(socket):
    await socket.send_to(bytes_data=b"{}")

    assert (await socket.hear())["code"] == "invalid_json"


async def test_a_failure_of_our_own_is_an_error_frame_and_never_1011(netra, socket):
    async def breaks(**_: Any) -> None:
        raise ZeroDivisionError("needle")

    netra.services.intake.cancel = breaks
    await socket.say("cancel_run", run_id="run_x")
    error = await socket.hear()
    await socket.say("ping")

    assert error["code"] == "internal"
    assert "needle" not in repr(error)
    assert (await socket.hear())["type"] == "pong"


async def test_who_keeps_breaking_the_protocol_is_closed_with_4400(socket):
    for _ in range(20):
        await socket.send_to(text_data="{")
    answers = [await socket.receive_output(5) for _ in range(21)]

    assert answers[-1] == {"type": "websocket.close", "code": 4400}
    assert [answer["type"] for answer in answers[:-1]] == ["websocket.send"] * 20


async def test_one_socket_too_many_is_told_and_closed_with_4429(netra, ada, socket, settings):
    netra.services.socket_limits = replace(netra.services.socket_limits, sockets_per_user=1)
    second = await netra.connect(ada)

    assert (await second.hear())["code"] == "rate_limited"
    assert (await second.receive_output(5)) == {"type": "websocket.close", "code": 4429}


async def test_starts_beyond_the_limit_are_rate_limited_and_make_no_run(netra, socket):
    netra.services.manager._starts_per_minute = 1
    await socket.begin()
    await socket.hear_until("agent_completed")
    await socket.say("start_agent", request_id="r2", agent="test", message="Go.")

    error = await socket.hear()
    assert (error["code"], error["request_id"]) == ("rate_limited", "r2")
    assert 0 < error["retry_after"] <= 60
    assert await in_database(AgentExecution.objects.count) == 1


async def test_a_socket_that_is_gone_is_forgotten(netra, ada, socket):
    await socket.disconnect(timeout=5)
    netra.sockets.clear()
    await asyncio.sleep(0.05)

    assert dict(netra.services.manager._sockets) == {}
    assert not [group for group in netra.services.manager.doorbell.layer.groups if group.startswith("netra.user.")]


async def test_a_socket_that_is_gone_keeps_no_memory_until_python_looks_for_cycles(netra, ada):
    def sessions() -> int:
        return sum(type(thing) is DeliverySession for thing in gc.get_objects())

    gc.collect()
    before = sessions()
    gc.disable()
    try:
        socket = await netra.connect(ada)
        await socket.begin()
        assert sessions() == before + 1
        await socket.disconnect()
        await until(lambda: sessions() == before)
    finally:
        gc.enable()


async def test_with_a_layer_that_loses_everything_the_log_heals_it(netra, socket):
    netra.services.manager.doorbell.layer = LosingLayer(netra.services.manager.doorbell.layer)
    accepted = await socket.begin(params={"thoughts": 5})
    heard = await socket.hear_until("agent_completed")

    assert seqs([frame for frame in heard if frame.get("run_id") == accepted["run_id"]]) == [*range(1, 9)]
    assert netra.services.manager.doorbell.failures > 0


class LosingLayer:
    def __init__(self, layer: Any) -> None:
        self._layer = layer

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        raise OSError("the layer is away")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)
