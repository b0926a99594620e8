"""A run of somebody else's, watched over a socket of the operator's own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from msgspec.structs import replace

from agents.database import in_database
from agents.registry import AgentRegistry
from netra.console.watch import WATCH_PATH, RunWatch
from netra.services import Services
from notifications.credentials import issue
from notifications.models import AccessToken
from notifications.routing import build_router
from tests.notifications.test_consumers import Socket
from tests.runs import make_user, read_log

pytestmark = pytest.mark.django_db(transaction=True)
ORIGIN = (b"origin", b"http://testserver")
HOST = (b"host", b"testserver")


class Watched:
    """Services that run `test`, which thinks as often as it is told and then waits to be cancelled."""

    def __init__(self) -> None:
        registry = AgentRegistry()
        self.gate = asyncio.Event()
        gate = self.gate

        class Agent:
            async def execute(self, context: Any) -> Any:
                for number in range(context.request.params["thoughts"]):
                    await context.think(f"Secret thought {number}")
                if context.request.params.get("wait"):
                    await gate.wait()
                await context.tools.call("no such tool")
                return "Secret answer"

        registry.register_agent_safely("test", Agent)
        self.services = Services(registry)
        self.sockets: list[Socket] = []

    def open(self, path: str, *headers: tuple[bytes, bytes]) -> Socket:
        services = self.services
        router = build_router(
            is_ready=services.health.is_ready,
            manager=services.manager,
            intake=services.intake,
            limits=services.socket_limits,
            others={WATCH_PATH: RunWatch},
        )
        socket = Socket(router, path, headers=[HOST, *headers])
        self.sockets.append(socket)
        return socket

    async def user_socket(self, user: int) -> Socket:
        token = await in_database(make_token, user)
        return await opened(self.open("/ws/", (b"authorization", f"Bearer {token}".encode())))

    async def run(self, *, wait: bool = False) -> tuple[Socket, str]:
        """A user's socket, and the run that it has started; with `wait` it goes on when the gate is open."""
        socket = await self.user_socket(await in_database(make_user))
        accepted = await socket.begin(params={"thoughts": 3, "wait": wait})
        return socket, accepted["run_id"]

    async def watch(self, run_id: str, *permissions: str) -> Socket:
        return await opened(
            self.open(path_of(run_id), ORIGIN, await in_database(cookie_of, "view_agentexecution", *permissions))
        )


def path_of(run_id: str) -> str:
    return f"/ws/console/runs/{run_id}/"


def make_token(user: int) -> str:
    return issue(get_user_model().objects.get(pk=user), AccessToken.Kind.API_TOKEN)


def cookie_of(*codenames: str, is_staff: bool = True) -> tuple[bytes, bytes]:
    """The session of somebody new who has these permissions."""
    user = get_user_model().objects.get(pk=make_user())
    user.is_staff = is_staff
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()


async def opened(socket: Socket) -> Socket:
    accepted, _ = await socket.connect(5)
    assert accepted
    return socket


@pytest.fixture
async def watched(transactional_db: None) -> AsyncIterator[Watched]:
    watched = Watched()
    watched.services.start()
    yield watched
    for socket in watched.sockets:
        await socket.disconnect()
    await watched.services.stop()
    await watched.services.journal.close()


async def test_an_operator_sees_what_the_user_sees_while_it_happens(watched):
    user, run_id = await watched.run(wait=True)
    watching = await watched.watch(run_id, "view_content")
    (listed,) = (await watching.hear())["runs"]
    await watching.say("resume", cursors={run_id: 0})
    before = await watching.hear_until("caught_up")

    watched.gate.set()

    after = await watching.hear_until("agent_completed")
    seen = {frame["seq"]: frame for frame in [*before, *after] if "seq" in frame}
    assert listed["run_id"] == run_id
    assert [seen[seq] for seq in sorted(seen)] == await in_database(read_log, run_id)
    assert seen[len(seen)] == (await user.hear_until("agent_completed"))[-1]


async def test_without_view_content_frames_say_what_happened_but_not_what_was_said(watched):
    user, run_id = await watched.run()
    await user.hear_until("agent_completed")
    watching = await watched.watch(run_id)
    await watching.hear()
    await watching.say("resume", cursors={run_id: 0})

    seen = [frame for frame in await watching.hear_until("caught_up") if "seq" in frame]

    log = await in_database(read_log, run_id)
    assert "Secret" in str(log)
    assert "Secret" not in str(seen)
    assert "no such tool" not in str(seen)
    assert [(frame["seq"], frame["type"], frame["timestamp"]) for frame in seen] == [
        (frame["seq"], frame["type"], frame["timestamp"]) for frame in log
    ]
    assert all(frame["bytes"] > 0 for frame in seen)
    assert seen[-1]["data"]["status"] == "failed"


async def test_it_is_for_one_run(watched):
    user, run_id = await watched.run()
    await user.hear_until("agent_completed")
    other = (await user.begin("r2", params={"thoughts": 1}))["run_id"]
    await user.hear_until("agent_completed")
    watching = await watched.watch(run_id, "view_content")
    await watching.hear()

    await watching.say("resume", id="r", cursors={run_id: 0, other: 0})
    seen = await watching.hear_until("caught_up")

    assert {frame["run_id"] for frame in seen if "seq" in frame} == {run_id}
    assert set(seen[-1]["runs"]) == {run_id}


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("start_agent", {"request_id": "r", "agent": "test", "message": "Go."}),
        ("cancel_run", {"run_id": "run_x"}),
        ("resolve_approval", {"run_id": "run_x", "approval_id": "a", "decision": "approve"}),
    ],
)
async def test_whoever_watches_cannot_do_anything(watched, type_, fields):
    _, run_id = await watched.run()
    watching = await watched.watch(run_id)
    await watching.hear()

    await watching.say(type_, **fields)

    refused = (await watching.hear_until("error"))[-1]
    assert (refused["code"], refused["field"]) == ("invalid_message", "type")


async def test_those_who_watch_do_not_take_up_the_connections_of_the_user(watched):
    """With two connections for each user, the user's second is served however many watch."""
    watched.services.socket_limits = replace(watched.services.socket_limits, sockets_per_user=2)
    user = await in_database(make_user)
    first = await watched.user_socket(user)
    run_id = (await first.begin(params={"thoughts": 1}))["run_id"]
    for _ in range(2):
        await watched.watch(run_id)

    assert (await (await watched.user_socket(user)).hear())["type"] == "connection_established"
    assert (await (await watched.user_socket(user)).hear())["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("codenames", "is_staff", "origin"),
    [
        ((), True, ORIGIN),
        (("view_agentexecution", "view_content"), False, ORIGIN),
        (("view_agentexecution", "view_content"), True, (b"origin", b"https://evil.example")),
        (("view_thread", "view_content", "operate_agentexecution"), True, ORIGIN),
    ],
    ids=["no permission", "no staff", "another site", "other permissions"],
)
async def test_others_are_refused(watched, codenames, is_staff, origin):
    _, run_id = await watched.run()
    cookie = await in_database(lambda: cookie_of(*codenames, is_staff=is_staff))

    accepted, _ = await watched.open(path_of(run_id), origin, cookie).connect(5)

    assert not accepted


async def test_neither_a_token_nor_a_run_that_is_not_there_opens_it(watched):
    _, run_id = await watched.run()
    cookie = await in_database(cookie_of, "view_agentexecution")
    token = (b"authorization", f"Bearer {await in_database(make_token, await in_database(make_superuser))}".encode())

    for path, header in ((path_of(run_id), token), (path_of("run_" + "0" * 26), cookie), (path_of("run_1"), cookie)):
        accepted, _ = await watched.open(path, ORIGIN, header).connect(5)
        assert not accepted


def make_superuser() -> int:
    return get_user_model().objects.create_superuser("super").pk
