"""A real Netra for tests: its own process, port and data folder, started by the commands of `make run`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

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
    """`url`, `ws_url` and `token` (of the user alice) are good from `start` to `stop`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws/"
        self.log = folder / "server.log"
        self.token = ""
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

    def login_url(self) -> str:
        """A fresh one-time link."""
        lines = self.manage("login_link").split()
        return next(word for word in lines if word.startswith(self.url))

    def start(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--noinput", "--verbosity", "0")
        self.token = self.token or self.create_token("alice")
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

    def connect(self, token: str | None = None) -> Chat:
        return Chat(self.ws_url, self.token if token is None else token)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Chat:
    """A plain WebSocket client that keeps every frame it saw. Used as a context manager."""

    def __init__(self, url: str, token: str) -> None:
        self.frames: list[dict[str, Any]] = []
        self._url = url
        self._token = token
        self._socket: ClientConnection | None = None
        self._requests = 0

    def __enter__(self) -> Self:
        self._socket = connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {self._token}"},
            compression=None,
            max_size=None,
        )
        self.established = self.receive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def receive(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next frame; raises TimeoutError if none comes."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=seconds))
        self.frames.append(frame)
        return frame

    def receive_until(
        self, type_: str, *, run_id: str | None = None, seconds: float = ANSWER_SECONDS
    ) -> dict[str, Any]:
        """Reads on until a frame of that type (and run) comes, and returns it."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self.receive(max(0.01, deadline - time.monotonic()))
            if frame["type"] == type_ and run_id in (None, frame.get("run_id")):
                return frame

    def start_run(self, *steps: dict[str, Any], agent: str = "scripted", **fields: Any) -> dict[str, Any]:
        """Starts a run (of the scripted agent, with these steps) and returns its run_accepted."""
        self._requests += 1
        message = {
            "request_id": f"request-{id(self)}-{self._requests}",
            "agent": agent,
            "message": "Go.",
            **fields,
        }
        params = {"script": list(steps)} | fields.get("params", {})
        self.send(type="start_agent", **{**message, "params": params})
        return self.receive_until("run_accepted")

    def run(self, *steps: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """Runs it to its end and returns the run's events in the order in which they came."""
        run_id = self.start_run(*steps, **fields)["run_id"]
        self.receive_until("agent_completed", run_id=run_id)
        return self.events(run_id)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame.get("run_id") == run_id and "seq" in frame]
