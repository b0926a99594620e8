"""What is measured: Netra, and the two applications of plain.py, each in a server process of its own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from netra.testing.server import ROOT, START_SECONDS, RunningNetra
from netra.testing.servers import free_port
from tests.benchmarks.wire import Wire

EVENT_BYTES = 100
"""Of an event's text; its frame is then about 330 bytes."""
STARTING_SECONDS = 0.3
"""Runs of Netra's wait so long before they emit, so that all of them have begun."""
MANY = "1000000"
USERS = 50
"""Among whom many sockets are shared out."""


class Subject(ABC):
    """A server, from `start` to `stop`; each round has a new process."""

    name: ClassVar[str]
    first_seq: ClassVar[int]
    """The seq of the first event that was asked for; what comes before tells that the run begins."""

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def restart(self) -> None:
        self.stop()
        self.start()

    @abstractmethod
    def connect(self) -> Wire:
        """A socket that is ready for `emit`."""

    def connect_idle(self) -> Wire:
        """A socket on which nothing is going to happen."""
        return self.connect()

    @abstractmethod
    def emit(self, wire: Wire, *, runs: int, events: int, rate: float | None) -> None:
        """Has each of the runs emit so many events, at `rate` a second or as fast as it goes."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Netra(Subject):
    """The embedded default as `make run` starts it, with limits out of the way."""

    name = "netra"
    first_seq = 3
    tokens: list[str]
    """Of users who are nobody's bystanders."""

    def __init__(self, folder: Path) -> None:
        self.tokens = []
        self._bystander = ""
        self._live = RunningNetra(
            folder,
            NETRA_LOG_LEVEL="WARNING",
            NETRA_STARTS_PER_MINUTE=MANY,
            NETRA_MESSAGES_PER_MINUTE=MANY,
            NETRA_SOCKETS_PER_USER=MANY,
            NETRA_DEFAULT_TIER="enterprise",
        )
        self._database = folder / "data" / "netra.sqlite3"

    @property
    def pid(self) -> int:
        return self._live.pid

    @property
    def ws_url(self) -> str:
        return self._live.ws_url

    def start(self) -> None:
        if self._live.token:
            self._live.run_server()
        else:
            self._live.start()
            self._bystander = self._live.create_token("bystander")
            self.tokens = [user.token for user in self._live.create_users(*map("user-{}".format, range(USERS)))]

    def stop(self) -> None:
        self._live.stop()

    def connect(self) -> Wire:
        return self._connect(self._live.token)

    def connect_idle(self) -> Wire:
        return self._connect(self._bystander)

    def _connect(self, token: str) -> Wire:
        wire = Wire(self._live.ws_url, token)
        wire.receive_until("connection_established")
        return wire

    def emit(self, wire: Wire, *, runs: int, events: int, rate: float | None) -> None:
        script: list[dict[str, Any]] = [
            {"sleep": STARTING_SECONDS},
            {"emit": events, "rate": rate, "bytes": EVENT_BYTES},
        ]
        for _ in range(runs):
            request_id = uuid.uuid4().hex
            wire.send(
                type="start_agent", request_id=request_id, agent="scripted", message="Go.", params={"script": script}
            )

    def logged(self, run_id: str) -> list[str]:
        """The frames of a run as they stand in the database."""
        query = (
            "SELECT event.frame FROM agents_executionevent event JOIN agents_agentexecution run"
            " ON run.id = event.execution_id WHERE run.run_id = ? ORDER BY event.seq"
        )
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=20)
        try:
            return [row[0] for row in database.execute(query, [run_id])]
        finally:
            database.close()


class _OfPlain(Subject):
    first_seq = 1

    def __init__(self, folder: Path) -> None:
        self._log = folder / f"{self.name}.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._port = free_port()
        daphne = [sys.executable, "-m", "daphne", "--verbosity", "0", "-b", "127.0.0.1", "-p", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*daphne, "tests.benchmarks.plain:application"], cwd=ROOT, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{self.name} did not start:\n{self._log.read_text()[-4000:]}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)

    def connect(self) -> Wire:
        return Wire(f"ws://127.0.0.1:{self._port}/{self.name}")

    def emit(self, wire: Wire, *, runs: int, events: int, rate: float | None) -> None:
        wire.send(runs=runs, events=events, rate=rate, bytes=EVENT_BYTES)


class Plain(_OfPlain):
    name = "plain"


class Bare(_OfPlain):
    name = "bare"
