"""A socket for tests: it keeps every frame it saw, and says what a client asks in a line."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ANSWER_SECONDS = 20.0


class Chat:
    """A plain WebSocket client that keeps every frame it saw, in `frames`. Used as a context manager."""

    def __init__(self, url: str, token: str, *, wait: bool = True) -> None:
        self.frames: list[dict[str, Any]] = []
        self.established: dict[str, Any] = {}
        self._wait = wait
        self._open = ExitStack()
        self._url = url
        self._token = token
        self._socket: ClientConnection | None = None
        self._name = f"chat-{uuid4()}"
        self._requests = 0

    def __enter__(self) -> Self:
        self._socket = self._open.enter_context(
            connect(
                self._url,
                additional_headers={"Authorization": f"Bearer {self._token}"},
                compression=None,
                max_size=None,
                max_queue=None,
            )
        )
        if self._wait:
            self.established = self.receive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    def send(self, **message: Any) -> None:
        self.send_raw(json.dumps(message, ensure_ascii=False))

    def send_raw(self, frame: str | bytes) -> None:
        self.socket.send(frame)

    def receive(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next frame; raises TimeoutError if none comes."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=seconds))
        self.frames.append(frame)
        return frame

    def receive_until(self, *types: str, run_id: str | None = None, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Reads on until a frame of one of these types (and of that run) comes, and returns it."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self.receive(max(0.01, deadline - time.monotonic()))
            if frame["type"] in types and run_id in (None, frame.get("run_id")):
                return frame

    def receive_all(self) -> int:
        """Reads on to the end of the socket and returns its close code (1006: there was none)."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def ask(self, **message: Any) -> dict[str, Any]:
        """Sends a message and returns its answer: the next frame that is no event and no head."""
        self.send(**message)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        while True:
            frame = self.receive()
            if "seq" not in frame and frame["type"] != "head":
                return frame

    def start_agent(self, *steps: dict[str, Any], agent: str = "scripted", **fields: Any) -> dict[str, Any]:
        """Asks for a run (of the scripted agent, with these steps) and returns the answer, whatever it is."""
        self._requests += 1
        message = {"request_id": f"{self._name}-{self._requests}", "agent": agent, "message": "Go.", **fields}
        if agent == "scripted":
            message["params"] = {"script": list(steps)} | fields.get("params", {})
        return self.ask(type="start_agent", **message)

    def start_run(self, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """As `start_agent`, but accepts nothing but run_accepted."""
        answer = self.start_agent(*steps, **fields)
        if answer["type"] != "run_accepted":
            raise AssertionError(f"No run came of it: {answer}")
        return answer

    def run(self, *steps: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """Runs it to its end and returns the run's events in the order in which they came."""
        return self.finish(self.start_run(*steps, **fields)["run_id"])

    def finish(self, run_id: str, seconds: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
        """Reads on to the end of a run, unless it has come, and returns the run's events as they came."""
        events = self.events(run_id)
        if not events or events[-1]["type"] != "agent_completed":
            self.receive_until("agent_completed", run_id=run_id, seconds=seconds)
        return self.events(run_id)

    def wait_for(self, run_id: str, type_: str) -> dict[str, Any]:
        """The first event of that type in a run, come already or still to come."""
        seen = [event for event in self.events(run_id) if event["type"] == type_]
        return seen[0] if seen else self.receive_until(type_, run_id=run_id)

    def resume(self, **cursors: int) -> list[dict[str, Any]]:
        """Resumes and returns what came up to and with the caught_up: errors are among it, heads are not, which come
        at any time."""
        self._requests += 1
        begin, id_ = len(self.frames), f"resume-{self._requests}"
        self.send(type="resume", id=id_, cursors=cursors)
        while self.receive_until("caught_up")["id"] != id_:
            pass
        return [frame for frame in self.frames[begin:] if frame["type"] != "head"]

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """All events of a run as they came; each comes once unless this socket resumed the run."""
        return [frame for frame in self.frames if frame.get("run_id") == run_id and "seq" in frame]

    def view(self, run_id: str, cursor: int = 0) -> list[dict[str, Any]]:
        """The events of a run as a client takes them that resumes: cursor + 1, and nothing else."""
        taken: list[dict[str, Any]] = []
        for event in self.events(run_id):
            if event["seq"] == cursor + len(taken) + 1:
                taken.append(event)
        return taken
