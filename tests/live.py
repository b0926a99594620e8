"""A real Netra for tests: its own process, port and data folder, started by the commands of `make run`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
ANSWER_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveNetra:
    """`url`, `ws_url` and the tokens (`token` is alice's, `other_token` bob's) are good from `start` to `stop`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws/"
        self.log = folder / "server.log"
        self.token = ""
        self.other_token = ""
        self._database = folder / "data" / "netra.sqlite3"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("NETRA_", "DJANGO_"))},
            "NETRA_DATA_DIR": str(folder / "data"),
            "NETRA_TEST_AGENTS": "1",
            "NETRA_STARTS_PER_MINUTE": "100000",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            **environment,
        }

    def manage(self, *arguments: str, check: bool = True) -> str:
        """Runs manage.py on this Netra's data and returns what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"manage.py {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def create_token(self, username: str) -> str:
        return self.manage("create_token", username, "--create-user").splitlines()[-1]

    def login_url(self, *username: str) -> str:
        """A fresh one-time link, for the first superuser or for whom it names."""
        lines = self.manage("login_link", *username).split()
        return next(word for word in lines if word.startswith(self.url))

    def start(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        with ThreadPoolExecutor() as at_once:
            static_files = at_once.submit(self.manage, "collectstatic", "--noinput", "--verbosity", "0")
            tokens = at_once.map(self.create_token, ("alice", "bob"))
        static_files.result()
        self.token, self.other_token = tokens
        self.run_server()

    def run_server(self) -> None:
        """Starts the server process and returns when it answers."""
        daphne = [sys.executable, "-m", "daphne", "--verbosity", "0", "-b", "127.0.0.1", "-p", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*daphne, "netra.asgi:application"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/accounts/login/", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """What an SQL query finds in this Netra's database, read beside the server."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, parameters)]

    def run_row(self, run_id: str) -> dict[str, Any]:
        """The record of a run."""
        (row,) = self.rows("SELECT * FROM agents_agentexecution WHERE run_id = ?", run_id)
        return row

    def transitions(self, run_id: str) -> list[dict[str, Any]]:
        """The phase history of a run, in order."""
        return self.rows(
            "SELECT t.* FROM agents_phasetransition t JOIN agents_agentexecution e ON e.id = t.execution_id"
            " WHERE e.run_id = ? ORDER BY t.ordinal",
            run_id,
        )

    def logged(self, run_id: str) -> list[dict[str, Any]]:
        """The event log of a run: the frames, in order."""
        rows = self.rows(
            "SELECT v.frame FROM agents_executionevent v JOIN agents_agentexecution e ON e.id = v.execution_id"
            " WHERE e.run_id = ? ORDER BY v.seq",
            run_id,
        )
        return [json.loads(row["frame"]) for row in rows]

    def memory_mb(self) -> float:
        """The resident memory of the server process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 30.0) -> int:
        """The exit code of the server process, once it has ended."""
        assert self._process is not None
        return self._process.wait(timeout=seconds)

    def kill(self) -> None:
        """As by `kill -9`: nothing is said to anybody."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()

    def connect(self, token: str | None = None, *, wait: bool = True) -> Chat:
        """A socket of alice's, or of whose token it is; with `wait` it has read its first frame."""
        return Chat(self.ws_url, self.token if token is None else token, wait=wait)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Chat:
    """A plain WebSocket client that keeps every frame it saw. Used as a context manager."""

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
        params = {"script": list(steps)} | fields.get("params", {})
        return self.ask(type="start_agent", **{**message, "params": params})

    def start_run(self, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """As `start_agent`, but accepts nothing but run_accepted."""
        answer = self.start_agent(*steps, **fields)
        assert answer["type"] == "run_accepted", answer
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
        """Resumes and returns what came up to and with the caught_up; errors are among it."""
        self._requests += 1
        begin, id_ = len(self.frames), f"resume-{self._requests}"
        self.send(type="resume", id=id_, cursors=cursors)
        while self.receive_until("caught_up")["id"] != id_:
            pass
        return self.frames[begin:]

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


def types_of(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def require_lawful(events: Sequence[dict[str, Any]]) -> None:
    """The laws of protocol.md for all that a socket got of a run that has ended: each event once and in order."""
    assert events, "nothing came over the wire"
    types = types_of(events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({(event["run_id"], event["thread_id"], event["agent_name"]) for event in events}) == 1
    assert types.count("agent_completed") == 1
    assert types[-1] == "agent_completed"
    assert types.count("agent_started") == (len(types) > 1)
    assert len(types) == 1 or types[0] == "agent_started"
    require_paired(events)


def require_paired(events: Sequence[dict[str, Any]]) -> None:
    """Every tool_executing has its one tool_completed, later, and none comes from nowhere."""
    open_calls: Counter[str] = Counter()
    for event in events:
        if event["type"] == "tool_executing":
            open_calls[event["data"]["tool_call_id"]] += 1
            assert open_calls[event["data"]["tool_call_id"]] == 1
        elif event["type"] == "tool_completed":
            assert open_calls[event["data"]["tool_call_id"]] == 1
            open_calls[event["data"]["tool_call_id"]] = 2
    assert set(open_calls.values()) <= {2}, f"tool calls without an end: {open_calls}"
