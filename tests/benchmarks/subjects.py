"""What is measured: Netra in one process and in several, and the applications of plain.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec

from netra.testing.server import ROOT, START_SECONDS, RunningNetra
from netra.testing.servers import free_port
from netra.testing.worker import RunningWorker
from tests.benchmarks.wire import Wire

EVENT_BYTES = 100
"""Of an event's text; its frame is then about 330 bytes."""
STARTING_SECONDS = 0.3
"""Runs of Netra's wait so long before they emit, so that all of them have begun."""
MANY = "1000000"
USERS = 500
"""Among whom runs and sockets are shared out."""
RUNS = "2000"
LOGGED = """
SELECT run.run_id, event.frame FROM agents_executionevent event JOIN agents_agentexecution run
ON run.id = event.execution_id WHERE run.run_id IN (?) ORDER BY event.seq
"""


class Subject(ABC):
    """A server, from `start` to `stop`; each round has a new process."""

    name: ClassVar[str]
    first_seq: ClassVar[int]
    """The seq of the first event that was asked for; what comes before tells that the run begins."""

    @property
    @abstractmethod
    def pids(self) -> Sequence[int]:
        """Of its processes; the first one serves the sockets."""

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

    def __init__(self, folder: Path, **environment: str) -> None:
        self.tokens = []
        self._bystander = ""
        self._live = RunningNetra(
            folder,
            NETRA_LOG_LEVEL="WARNING",
            NETRA_STARTS_PER_MINUTE=MANY,
            NETRA_MESSAGES_PER_MINUTE=MANY,
            NETRA_SOCKETS_PER_USER=MANY,
            NETRA_RUNS_TOTAL=RUNS,
            NETRA_DEFAULT_TIER="enterprise",
            **environment,
        )

    @property
    def pids(self) -> Sequence[int]:
        return [self._live.pid]

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

    def logged(self, run_ids: Sequence[str]) -> dict[str, list[str]]:
        """The frames of runs as they stand in the database."""
        frames: dict[str, list[str]] = defaultdict(list)
        for row in self._live.rows(LOGGED.replace("(?)", f"({', '.join('?' * len(run_ids))})"), *run_ids):
            frames[row["run_id"]].append(row["frame"])
        return frames


class NetraInSeveral(Netra):
    """One web process and one worker, on the PostgreSQL and the Redis of `environment`."""

    name = "many"

    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder, **environment)
        self._worker: RunningWorker | None = None

    @property
    def pids(self) -> Sequence[int]:
        assert self._worker is not None
        return [*super().pids, self._worker.pid]

    def start(self) -> None:
        super().start()
        self._worker = RunningWorker(self._live, NETRA_LOG_LEVEL="INFO")  # it logs when it is ready
        self._worker.start()

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.close()
        super().stop()


class _OfPlain(Subject):
    first_seq = 1

    def __init__(self, folder: Path, **environment: str) -> None:
        self._environment = os.environ | environment
        self._log = folder / f"{self.name}.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return [self._process.pid]

    def start(self) -> None:
        self._port = free_port()
        daphne = [sys.executable, "-m", "daphne", "--verbosity", "0", "-b", "127.0.0.1", "-p", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*daphne, "tests.benchmarks.plain:application"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
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


class Pubsub(_OfPlain):
    """As Plain, over the Redis of `environment`, and the events come out of another process."""

    name = "pubsub"

    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder, **environment)
        self._producer: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> Sequence[int]:
        assert self._producer is not None
        return [*super().pids, self._producer.pid]

    def start(self) -> None:
        super().start()
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tests.benchmarks.plain"]
            self._producer = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def stop(self) -> None:
        super().stop()
        if self._producer is not None:
            self._producer.communicate(timeout=30)  # the end of its orders

    def emit(self, wire: Wire, *, runs: int, events: int, rate: float | None) -> None:
        assert self._producer is not None
        assert self._producer.stdin is not None
        order = {"runs": runs, "events": events, "rate": rate, "bytes": EVENT_BYTES}
        self._producer.stdin.write(msgspec.json.encode(order) + b"\n")
        self._producer.stdin.flush()
