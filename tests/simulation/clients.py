"""Users' clients: the real dialogue at one end of a socket, the real consumer at the other, and laws in between."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from netra.testing.laws import require_view_is_log
from notifications.cursors import Frame
from notifications.dialogue import Dialogue, Reader, request_key
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.world import NetraProcess, World

COME_BACK = 1012


class User(msgspec.Struct, frozen=True):
    key: int
    token: str


class Connection:
    """A socket between a client and a process. What the server sends of each run must follow on, or a resume."""

    def __init__(self, server: NetraProcess, client: Client) -> None:
        self.server = server
        self.client = client
        self.is_open = True
        self.resumed: dict[str, set[int]] = defaultdict(set)
        self.refusals_due = 0
        """How often the client asked for what is not its own, at most."""
        self._places: dict[str, int] = {}
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        headers = [(b"authorization", f"Bearer {client.user.token}".encode())]
        scope: Any = {"type": "websocket", "path": "/ws/", "headers": headers, "query_string": b"", "subprotocols": []}
        router: Any = server.router
        server.spawn(router(scope, self._inbox.get, self._send))

    def say(self, frame: Frame) -> None:
        if frame["type"] == "resume":
            for run_id, cursor in frame["cursors"].items():
                self.resumed[run_id].add(cursor)
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def hang_up(self) -> None:
        self.is_open = False
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def _send(self, message: dict[str, Any]) -> None:
        world = self.client.world
        world.loop.call_soon(self._arrive, message, context=world.outside)

    def _arrive(self, message: dict[str, Any]) -> None:
        if not self.is_open:
            return
        if message["type"] == "websocket.close":
            self.is_open = False
            self.client.closed(message.get("code"))
        elif message["type"] == "websocket.send":
            frame = json.loads(message["text"])
            self._check(frame, message["text"])
            self.client.take(frame)

    def _check(self, frame: Frame, text: str) -> None:
        """A frame on the wire: committed, of this user, and the next one of its run."""
        assert frame.get("code") != "internal", text
        witness = self.client.world.witness
        if "seq" in frame:
            run_id, seq = frame["run_id"], frame["seq"]
            assert witness.user_of.get(run_id) == self.client.user.key, f"not committed, or somebody else's: {text}"
            assert witness.texts[run_id][seq - 1 : seq] == [text], f"not what the log has: {text}"
            self._follow_on(run_id, seq - 1, seq)
        elif frame["type"] == "gap":
            self._follow_on(frame["run_id"], frame["missed_from"] - 1, frame["missed_to"])
        elif frame["type"] == "error":
            self.refusals_due -= 1
        elif frame["type"] in {"head", "caught_up"}:
            users = {witness.user_of.get(run_id) for run_id in frame["runs"]}  # None: it has no event yet
            assert users <= {self.client.user.key, None}, f"somebody else's runs: {text}"
        elif frame["type"] == "connection_established":
            self._places = {run["run_id"]: run["last_seq"] for run in frame["runs"]}

    def _follow_on(self, run_id: str, before: int, after: int) -> None:
        place = self._places.get(run_id, before)
        assert before == place or before in self.resumed[run_id], f"{run_id}: {after} was sent after {place}"
        self._places[run_id] = after


class Client:
    """Comes back by itself when its connection is gone, as the Python client does. `view` has what it took of a run."""

    def __init__(self, world: World, user: User, *, number: int) -> None:
        self.world = world
        self.user = user
        self.dialogue = Dialogue(random=lambda: 0.5)
        self.connection: Connection | None = None
        self.view: dict[str, list[Frame]] = defaultdict(list)
        self.reached: dict[str, int] = defaultdict(int)
        self.requests: dict[str, Frame] = {}
        self.accepted: dict[str, str] = {}
        self.readers: list[Reader] = []
        self.hello_at = world.now
        self._pried: set[str] = set()
        self.number = number
        self._losses = 0
        self._timer: asyncio.TimerHandle | None = None

    # ─ what the user does

    def start(self, frame: Frame) -> None:
        self._request(request_key("start_agent", frame["request_id"]), frame)

    def cancel(self, run_id: str) -> None:
        self._request(request_key("cancel_run", run_id), {"type": "cancel_run", "run_id": run_id})

    def resume(self, cursors: dict[str, int]) -> None:
        """Says so beside the dialogue, as an impatient client would; nobody who reads here is left behind."""
        for reader in self.readers:
            if reader.run_id in cursors and not reader.ended:
                cursors[reader.run_id] = min(cursors[reader.run_id], reader.cursor)
        if self.connection is not None:
            self.connection.say({"type": "resume", "id": "impatient", "cursors": cursors})

    def read(self, run_id: str) -> None:
        self.readers.append(Reader(run_id, 0))
        self._say(self.dialogue.read(self.readers[-1]))

    def follow(self, run_ids: list[str]) -> None:
        self._say(self.dialogue.follow(run_ids))

    def pry(self, run_id: str) -> None:
        """Asks for what is somebody else's, past the dialogue."""
        self._pried.add(run_id)
        if self.connection is not None:
            self.connection.refusals_due += 2
            self.connection.say({"type": "resume", "id": "pry", "cursors": {run_id: 0}})
            self.connection.say({"type": "cancel_run", "run_id": run_id})

    def check(self, run_id: str) -> None:
        """The whole run is here, but for what was told as missing; and so it is with whoever reads it here."""
        log = self.world.witness.frames(run_id)
        require_whole(self.view[run_id], log)
        for reader in self.readers:
            if reader.run_id == run_id:
                assert reader.error is None, f"{reader.error}"
                assert reader.ended
                require_whole(list(reader.events), log)

    # ─ its connection

    @property
    def has_its_answers(self) -> bool:
        return self.dialogue.status == "up" and set(self.accepted) == {
            key for key in self.requests if key.startswith("start_agent")
        }

    def connect(self) -> None:
        if self.connection is not None:
            return
        self.dialogue.connect(self._now)
        if not self.world.processes:
            self._lost(None)
            return
        server = self.world.processes[(self.number + self._losses) % len(self.world.processes)]
        self.connection = Connection(server, self)
        self._set_timer()

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.hang_up()
            self._lost(None)

    def closed(self, code: int | None) -> None:
        """The server did it; before the upgrade it is a 403, which has no code."""
        was_up = self.dialogue.status == "up"
        assert code == COME_BACK or not was_up, f"closed with {code}"
        self._lost(code if was_up else None)

    def server_died(self, process: Process) -> None:
        if self.connection is not None and self.connection.server is process:
            self.hang_up()

    def take(self, frame: Frame) -> None:
        if frame["type"] == "connection_established":
            self.hello_at = self.world.now
            self.world.counts["reconnect"] += self._losses > 0
        elif frame["type"] == "error":
            self._look_at_error(frame)
        elif frame["type"] == "gap":
            self.world.counts["gap"] += 1
        elif frame["type"] == "run_accepted":
            self.world.counts["duplicate request"] += frame["duplicate"]
        step = self.dialogue.receive(frame, self._now)
        for event in step.events:
            self._take_event(event)
        for key, answer in step.answers:
            self._take_answer(key, answer)
        self._say(step.send)

    def _take_event(self, event: Frame) -> None:
        run_id, place = event["run_id"], self.reached[event["run_id"]]
        if event["type"] == "gap":
            assert run_id in self.world.witness.pruned, f"a gap in what is still there: {event}"
            assert event["snapshot"]["run_id"] == run_id
            assert self.world.witness.user_of[run_id] == self.user.key
            self.reached[run_id] = event["missed_to"]
        else:
            assert event["seq"] == place + 1, f"{event} was taken after {place}"
            self.reached[run_id] = event["seq"]
        self.view[run_id].append(event)

    def _take_answer(self, key: str, answer: Frame) -> None:
        if answer["type"] == "run_accepted":
            assert self.accepted.setdefault(key, answer["run_id"]) == answer["run_id"], "one request, two runs"
        elif answer["type"] == "error":  # the user presses the button again
            again = self.requests[key]
            self.world.loop.call_later(1.0, self._request, key, again, context=self.world.outside)

    def _look_at_error(self, error: Frame) -> None:
        if error["code"] == "not_found":
            assert error["run_id"] in self._pried, f"{error}"
            self.world.counts["pry"] += 1
        else:
            assert error["code"] == "not_ready", f"{error}"
            self.world.counts["not ready"] += 1

    def _request(self, key: str, frame: Frame) -> None:
        self.requests[key] = frame
        self._say(self.dialogue.request(key, frame))

    def _say(self, frames: list[Frame]) -> None:
        if self.connection is not None:
            for frame in frames:
                self.connection.say(frame)
            self._set_timer()

    def _lost(self, code: int | None) -> None:
        self.connection = None
        self._losses += 1
        self.dialogue.lost(self._now, code)
        self._set_timer()

    # ─ its time

    @property
    def _now(self) -> float:
        return self.world.loop.time()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self.dialogue.retry_at if self.dialogue.status == "waiting" else self.dialogue.due_at
        if at is not None:
            self._timer = self.world.loop.call_at(at, self._on_time, context=self.world.outside)

    def _on_time(self) -> None:
        if self.dialogue.status == "waiting":
            self.connect()
        elif self.dialogue.is_silent(self._now):
            self.world.counts["silent server"] += 1
            self.hang_up()
        else:
            self._say(self.dialogue.due(self._now))
            self._set_timer()


def require_whole(seen: list[Frame], log: list[Frame]) -> None:
    """Events and gaps that make up the log, in order."""
    whole: list[Frame] = []
    for frame in seen:
        if frame["type"] == "gap":
            whole += log[len(whole) : frame["missed_to"]]
        else:
            whole.append(frame)
    require_view_is_log(whole, log)
