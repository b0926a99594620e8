import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from netra.testing.servers import free_port
from notifications.client import NetraClient, start_frame
from notifications.connection import ClientError, NothingAnswers, Refused, is_local, socket_url
from notifications.dialogue import Dialogue, Reader, Step, request_key

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.json"))
Frame = dict[str, Any]


def thinking(seq: int, run_id: str = "run_a", type_: str = "agent_thinking") -> Frame:
    return {"type": type_, "run_id": run_id, "seq": seq, "timestamp": "2026-11-21T09:00:00Z", "data": {}}


def established(*runs: Frame) -> Frame:
    return {"type": "connection_established", "protocol": 1, "runs": list(runs)}


class Player:
    """Plays a recorded scenario (tests/scenarios/README.md) to a dialogue; time is a number."""

    def __init__(self) -> None:
        self.dialogue = Dialogue(random=lambda: 0.5)
        self.now = 0.0
        self.silent = False
        self.last_resume = ""
        self.attempts = 0
        self.seen: dict[str, list[Any]] = {}

    def play(self, step: Frame) -> Frame:
        self.seen = {"accepts": [], "sends": [], "answers": []}
        (name,) = [name for name in step if hasattr(self, f"do_{name}")]
        getattr(self, f"do_{name}")(step[name])
        return {**self.seen, "state": self.dialogue.state, "ended": (self.dialogue.fatal or {}).get("code")}

    def do_open(self, _: bool) -> None:
        self._connect()

    def do_receive(self, frame: Frame) -> None:
        if frame.get("id") == "$last_resume":
            frame = {**frame, "id": self.last_resume}
        self._take(self.dialogue.receive(frame, self.now))

    def do_receive_text(self, text: str) -> None:
        """That a text is no JSON object is the client's to see."""
        assert not isinstance(_json_or_none(text), dict)

    def do_receive_events(self, burst: Frame) -> None:
        for seq in range(burst["from"], burst["to"] + 1):
            self.do_receive(thinking(seq, burst["run_id"]))
        accepted = [[burst["run_id"], seq] for seq in range(burst["from"], burst["to"] + 1)]
        assert self.seen["accepts"] == accepted
        self.seen["accepts"] = []

    def do_start(self, start: Frame) -> None:
        frame = start_frame(**start)
        self._send(self.dialogue.request(request_key("start_agent", start["request_id"]), frame))

    def do_cancel(self, run_id: str) -> None:
        frame = {"type": "cancel_run", "run_id": run_id}
        self._send(self.dialogue.request(request_key("cancel_run", run_id), frame))

    def do_resolve(self, resolution: Frame) -> None:
        frame = {"type": "resolve_approval", **resolution}
        self._send(self.dialogue.request(request_key("resolve_approval", resolution["approval_id"]), frame))

    def do_follow(self, run_ids: list[str]) -> None:
        self._send(self.dialogue.follow(run_ids))

    def do_close(self, code: int) -> None:
        self._take(self.dialogue.lost(self.now, code))

    def do_advance(self, seconds: float) -> None:
        self._advance(seconds, until=lambda: False)

    def do_silence(self, seconds: float) -> None:
        self.silent = True
        self._advance(seconds, until=lambda: self.dialogue.state == "offline")
        self.silent = False

    def do_reconnects_within(self, seconds: float) -> None:
        attempts = self.attempts
        self._advance(seconds, until=lambda: self.attempts > attempts)
        assert self.attempts == attempts + 1

    def do_stays_away(self, seconds: float) -> None:
        attempts = self.attempts
        self._advance(seconds, until=lambda: False)
        assert self.attempts == attempts

    def _advance(self, seconds: float, until: Callable[[], bool]) -> None:
        end = self.now + seconds
        while (at := self._next()) is not None and at <= end and not until():
            self.now = max(self.now, at)
            if self.dialogue.status == "waiting":
                self._connect()
            elif self.dialogue.is_silent(self.now):
                self._take(self.dialogue.lost(self.now))
            else:
                self._send(self.dialogue.due(self.now))
        if not until():
            self.now = end

    def _next(self) -> float | None:
        return self.dialogue.retry_at if self.dialogue.status == "waiting" else self.dialogue.due_at

    def _connect(self) -> None:
        self.attempts += 1
        self.dialogue.connect(self.now)

    def _take(self, step: Step) -> None:
        for event in step.events:
            gap = f"gap {event.get('missed_from')}-{event.get('missed_to')}"
            self.seen["accepts"].append([event["run_id"], event.get("seq", gap)])
        for key, frame in step.answers:
            answer = frame["code"] if frame["type"] == "error" else frame["type"]
            self.seen["answers"].append([key.rpartition(" ")[2], answer])
        self._send(step.send)

    def _send(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame["type"] == "resume":
                self.last_resume = frame["id"]
            if frame["type"] != "ping":
                self.seen["sends"].append(frame)
            elif not self.silent:
                self._take(self.dialogue.receive({"type": "pong", "id": frame["id"]}, self.now))


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario(scenario: Path):
    player = Player()

    for number, step in enumerate(json.loads(scenario.read_text())["steps"], 1):
        result = player.play(step)
        seen = {key: result[key] for key in ("accepts", "sends", "answers")}
        expected = {key: step.get(key, []) for key in seen}
        for key in ("state", "ended"):
            if key in step:
                seen[key], expected[key] = result[key], step[key]
        assert matches(seen, expected), f"step {number} {step}: {seen}"


def matches(seen: Any, expected: Any) -> bool:
    """Equal, where "*" is any value."""
    match expected:
        case "*":
            return True
        case dict():
            same_keys = isinstance(seen, dict) and seen.keys() == expected.keys()
            return same_keys and all(matches(seen[key], expected[key]) for key in expected)
        case list():
            same_length = isinstance(seen, list) and len(seen) == len(expected)
            return same_length and all(map(matches, seen, expected))
        case _:
            return bool(seen == expected)


class TestDialogue:
    @pytest.fixture
    def dialogue(self) -> Dialogue:
        dialogue = Dialogue(random=lambda: 1.0)
        dialogue.connect(0.0)
        dialogue.receive(established(), 0.0)
        return dialogue

    def test_it_waits_longer_each_time_but_never_more_than_eight_seconds(self, dialogue):
        delays = []
        for _ in range(8):
            dialogue.lost(100.0)
            delays.append(dialogue.retry_at - 100.0)

        assert delays == [0.5, 1, 2, 4, 8, 8, 8, 8]

    def test_a_reader_gets_the_run_from_its_first_event_though_the_client_is_further(self, dialogue):
        for seq in (1, 2):
            dialogue.receive(thinking(seq), 0.0)
        reader = Reader("run_a", 0)

        (resume,) = dialogue.read(reader)
        for seq in (1, 2, 3):
            dialogue.receive(thinking(seq), 0.0)
        dialogue.receive(thinking(4, type_="agent_completed"), 0.0)

        assert resume["cursors"] == {"run_a": 0}
        assert [event["seq"] for event in reader.events] == [1, 2, 3, 4]
        assert reader.ended

    def test_a_reader_that_begins_during_a_resume_is_served_as_well(self, dialogue):
        dialogue.receive(thinking(1), 0.0)
        dialogue.receive(thinking(3), 0.0)

        (resume,) = dialogue.read(Reader("run_a", 0))

        assert resume["cursors"] == {"run_a": 0}

    def test_after_a_reconnect_one_resume_serves_the_reader_that_is_furthest_behind(self, dialogue):
        for seq in (1, 2):
            dialogue.receive(thinking(seq), 0.0)
        dialogue.read(Reader("run_a", 0))
        dialogue.read(Reader("run_a", 1))
        dialogue.lost(1.0)
        dialogue.connect(2.0)

        step = dialogue.receive(established({"run_id": "run_a", "last_seq": 5}), 2.0)

        assert [frame["cursors"] for frame in step.send] == [{"run_a": 0}]

    def test_a_reader_of_an_unknown_run_is_told_so(self, dialogue):
        reader = Reader("run_x", 0)
        dialogue.read(reader)

        dialogue.receive({"type": "error", "code": "not_found", "message": "None.", "run_id": "run_x"}, 0.0)

        assert reader.ended
        assert reader.error is not None
        assert reader.error["code"] == "not_found"

    def test_acknowledging_what_is_gone_sends_nothing_and_is_not_due_again(self, dialogue):
        dialogue.receive(thinking(1), 0.0)
        dialogue.receive({"type": "error", "code": "not_found", "message": "None.", "run_id": "run_a"}, 0.1)

        assert dialogue.due(0.2) == []
        assert dialogue.due_at == 15.0


Talk = Callable[[ServerConnection, int], Awaitable[None]]


class Server:
    """A server whose talk with each connection is given; keeps what clients said."""

    def __init__(self, talk: Talk) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.heard: list[list[Frame]] = []
        self.paths: list[str] = []
        self.authorizations: list[str | None] = []
        self._talk = talk

    async def serve_one(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.paths.append(socket.request.path)
        self.authorizations.append(socket.request.headers.get("Authorization"))
        self.heard.append([])
        await self._talk(socket, len(self.heard))

    async def listen(self, socket: ServerConnection) -> Frame:
        """The next frame that is no ack."""
        while True:
            frame: Frame = json.loads(await socket.recv())
            if frame["type"] != "ack":
                self.heard[-1].append(frame)
                return frame


@asynccontextmanager
async def serving(talk: Talk, refuse_from: int = 0) -> AsyncIterator[Server]:
    """From the `refuse_from`th connection on (0: never) the handshake is answered with 403."""
    server = Server(talk)
    attempts = count(1)

    def process(socket: ServerConnection, request: Request) -> Response | None:
        refused = refuse_from and next(attempts) >= refuse_from
        return socket.respond(HTTPStatus.FORBIDDEN, "no") if refused else None

    async with serve(server.serve_one, "127.0.0.1", server.port, process_request=process, compression=None):
        yield server


async def say(socket: ServerConnection, *frames: Frame) -> None:
    for frame in frames:
        await socket.send(json.dumps(frame))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnects without a delay."""
    monkeypatch.setattr("notifications.dialogue.BACKOFF_FIRST", 0.0)


@pytest.mark.usefixtures("at_once")
class TestClient:
    async def test_a_lost_connection_costs_no_event_and_starts_no_second_run(self):
        async def talk(socket: ServerConnection, number: int) -> None:
            await say(socket, established())
            if number == 1:
                await server.listen(socket)  # the start, never answered
                socket.transport.abort()
            elif number == 2:
                start = await server.listen(socket)
                accepted = {"type": "run_accepted", "request_id": start["request_id"], "run_id": "run_a"}
                await say(socket, {**accepted, "duplicate": False}, thinking(1), thinking(2))
                while (await server.listen(socket))["type"] != "resume":
                    pass
                await say(socket, thinking(1), thinking(2))
                await socket.close(1012)
            else:
                await server.listen(socket)
                await say(socket, thinking(3), thinking(4, type_="agent_completed"))
                await socket.wait_closed()

        async with serving(talk) as server, NetraClient(server.url, token="netra_a") as client:
            accepted = await client.start_agent("analyst", "Go.")
            events = [event["seq"] async for event in client.events(accepted["run_id"])]

        assert events == [1, 2, 3, 4]
        first, second, third = server.heard
        assert first[0] == second[0]
        assert [frame["type"] for frame in third] == ["resume"]
        assert third[0]["cursors"] == {"run_a": 2}
        assert server.authorizations == ["Bearer netra_a"] * 3

    async def test_a_reconnect_needs_a_fresh_ticket(self):
        numbers = count(1)

        async def ticket() -> str:
            return f"ticket {next(numbers)}"

        async def talk(socket: ServerConnection, number: int) -> None:
            await say(socket, established())
            if number == 2:
                await say(socket, thinking(1, type_="agent_completed"))
                await socket.wait_closed()

        async with serving(talk) as server, NetraClient(server.url, ticket=ticket) as client:
            assert [event["seq"] async for event in client.events("run_a")] == [1]

        assert server.paths == ["/ws/?ticket=ticket%201", "/ws/?ticket=ticket%202"]

    async def test_an_error_that_answers_is_raised_with_its_code_and_field(self):
        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, established())
            start = await server.listen(socket)
            error = {"type": "error", "code": "unknown_agent", "message": "No such agent.", "field": "agent"}
            await say(socket, {**error, "request_id": start["request_id"]})
            await socket.wait_closed()

        async with serving(talk) as server, NetraClient(server.url) as client:
            with pytest.raises(ClientError, match="No such agent") as raised:
                await client.start_agent("nobody", "Go.")

        assert (raised.value.code, raised.value.field) == ("unknown_agent", "agent")

    async def test_too_large_a_message_is_refused_before_it_is_sent(self):
        with pytest.raises(ClientError, match="at most 65,536 bytes") as raised:
            await NetraClient("http://127.0.0.1:1").start_agent("analyst", "x" * 65_536)

        assert raised.value.code == "message_too_large"

    async def test_nobody_there(self):
        with pytest.raises(NothingAnswers, match="Nothing answers at ws://127.0.0.1"):
            async with NetraClient(f"http://127.0.0.1:{free_port()}"):
                pass

    async def test_a_refused_handshake(self):
        async def talk(socket: ServerConnection, _: int) -> None:
            raise AssertionError("it was refused")

        async with serving(talk, refuse_from=1) as server:
            with pytest.raises(Refused, match="refused the token or ticket"):
                async with NetraClient(server.url, token="netra_b"):
                    pass

    async def test_a_token_that_is_revoked_meanwhile_ends_the_events_with_an_error(self):
        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, established(), thinking(1))

        async with serving(talk, refuse_from=2) as server, NetraClient(server.url, token="netra_a") as client:
            with pytest.raises(ClientError, match="refused the token or ticket"):
                async for _ in client.events("run_a"):
                    pass

    @pytest.mark.parametrize(("code", "sentence"), [(4400, "broke the protocol"), (4401, "session has ended")])
    async def test_a_fatal_close_ends_everything(self, code, sentence):
        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, established())
            await server.listen(socket)
            await socket.close(code)

        async with serving(talk) as server, NetraClient(server.url) as client:
            with pytest.raises(ClientError, match=sentence):
                await client.start_agent("analyst", "Go.")
            with pytest.raises(ClientError, match=sentence):
                await client.cancel_run("run_a")

    async def test_one_connection_too_many_is_told_as_the_server_tells_it(self):
        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, {"type": "error", "code": "rate_limited", "message": "Too many.", "retry_after": 30})
            await socket.close(4429)

        async with serving(talk) as server:
            with pytest.raises(Refused, match="Too many") as raised:
                async with NetraClient(server.url):
                    pass

        assert (raised.value.code, raised.value.retry_after) == ("rate_limited", 30)

    async def test_a_ticket_that_is_not_to_be_had_is_told_at_once(self):
        async def ticket() -> str:
            raise LookupError("no database")

        with pytest.raises(LookupError, match="no database"):
            async with NetraClient("http://127.0.0.1:1", ticket=ticket):
                pass

    async def test_cancel_run_is_answered(self):
        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, established())
            cancel = await server.listen(socket)
            await say(socket, {"type": "cancel_accepted", "run_id": cancel["run_id"], "status": "running"})
            await socket.wait_closed()

        async with serving(talk) as server, NetraClient(server.url) as client:
            assert (await client.cancel_run("run_a"))["status"] == "running"

    async def test_resolve_approval_is_answered_or_refused(self):
        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, established())
            first = await server.listen(socket)
            ids = {"run_id": first["run_id"], "approval_id": first["approval_id"]}
            await say(socket, {"type": "approval_accepted", **ids, "decision": first["comment"]})
            second = await server.listen(socket)
            message = " ".join(sorted(second))
            await say(socket, {"type": "error", "code": "approval_closed", "message": message, **ids})
            await socket.wait_closed()

        async with serving(talk) as server, NetraClient(server.url) as client:
            accepted = await client.resolve_approval("run_a", "approval_a", "approve", arguments={}, comment="seen")
            assert accepted["decision"] == "seen"
            with pytest.raises(ClientError, match="approval_id decision run_id type") as raised:
                await client.resolve_approval("run_a", "approval_a", "reject")
        assert raised.value.code == "approval_closed"

    async def test_acks_go_out_while_nothing_else_happens(self):
        acked: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

        async def talk(socket: ServerConnection, _: int) -> None:
            await say(socket, established(), thinking(1), thinking(2))
            acked.set_result(json.loads(await socket.recv()))
            await socket.wait_closed()

        async with serving(talk) as server, NetraClient(server.url):
            assert await asyncio.wait_for(acked, 5) == {"type": "ack", "cursors": {"run_a": 2}}


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/"),
        ("https://netra.example/", "wss://netra.example/ws/"),
        ("ws://netra.example/ws", "ws://netra.example/ws/"),
        ("wss://netra.example/ws/", "wss://netra.example/ws/"),
        ("localhost:8000", "ws://localhost:8000/ws/"),
        ("http://[::1]:8000", "ws://[::1]:8000/ws/"),
    ],
)
def test_the_socket_of_an_address(url, socket):
    assert socket_url(url) == socket


@pytest.mark.parametrize(
    "url",
    ["", "ftp://netra.example", "http://", "http://a:b@netra.example", "http://x?y", "http://x:99999", "http://["],
)
def test_an_address_that_is_none(url):
    with pytest.raises(ValueError, match=r"."):
        socket_url(url)


def test_what_is_local():
    assert is_local("ws://localhost/ws/")
    assert is_local("ws://127.0.0.2:1/ws/")
    assert is_local("ws://[::1]/ws/")
    assert not is_local("ws://127.example/ws/")
