"""A real Netra for tests: its own process, port and data folder, started by the commands of `make run`."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.request import urlopen

from netra.testing import users
from netra.testing.chat import Chat
from netra.testing.database import rows
from netra.testing.servers import free_port
from netra.testing.users import User

WebServer = Literal["daphne", "uvicorn"]

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 30.0
NOT_INHERITED: Final = frozenset(
    {"ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DATABASE_URL", "DEBUG", "REDIS_URL", "SECRET_KEY"}
)
"""A test never meets the database of the shell that it was started from."""
WITH_OTHER_TABLES: Final = frozenset({"DATABASE_URL", "NETRA_APPS"})
FAULT: Final = re.compile(r"\bfault\W+(drop|duplicate|reorder|delay)\b")


class RunningNetra:
    """`url`, `ws_url` and the tokens (`token` is alice's, `other_token` bob's) are good from `start` to `stop`.

    Settings are environment variables, as for any Netra: `RunningNetra(folder, NETRA_APPS="greetings")`. It runs on
    SQLite in `folder`, or on the database of an explicit DATABASE_URL.
    """

    application = "netra.asgi:application"
    """What is served. A test that puts something around it or beside it names its own in a subclass."""

    def __init__(self, folder: Path, web_server: WebServer = "daphne", /, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws/"
        self.log = folder / "server.log"
        self.token = ""
        self.other_token = ""
        self._web_server = web_server
        self._process: subprocess.Popen[bytes] | None = None
        self._strangers: list[User] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if _is_inherited(name)},
            "NETRA_DATA_DIR": str(folder / "data"),
            "NETRA_TEST_AGENTS": "1",
            "SECRET_KEY": secrets.token_urlsafe(64),  # also for servers that share a database
            "NETRA_STARTS_PER_MINUTE": "100000",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            **environment,
        }

    def manage(self, *arguments: str, check: bool = True) -> str:
        """Runs manage.py on this Netra's data and returns what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"manage.py {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def create_token(self, username: str) -> str:
        return self.manage("create_token", username, "--create-user").splitlines()[-1]

    def create_users(self, *names: str) -> list[User]:
        """Makes users, each with a token, at the cost of one process for all of them."""
        return users.read(self.manage(*users.command(*names)))

    def new_user(self) -> User:
        """Somebody whom no test has met."""
        if not self._strangers:
            self._strangers = self.create_users(*users.new_names())
        return self._strangers.pop()

    def login_url(self, *username: str) -> str:
        """A fresh one-time link, for the first superuser or for whom it names."""
        lines = self.manage("login_link", *username).split()
        return next(word for word in lines if word.startswith(self.url))

    def start(self) -> None:
        """Makes the database and the users, or copies those that were made for an earlier one, and runs the server."""
        if WITH_OTHER_TABLES.isdisjoint(self.environment):
            folder, made = _prepared()
            shutil.copytree(folder, self.environment["NETRA_DATA_DIR"], dirs_exist_ok=True)
        else:
            made = self.prepare()
        alice, bob, *self._strangers = made
        self.token, self.other_token = alice.token, bob.token
        self.run_server()

    def prepare(self) -> list[User]:
        """Makes tables, static files and users: alice, bob, and some whom no test has met."""
        return users.read(self.manage(*users.command("alice", "bob", *users.new_names(), with_tables=True)))

    def run_server(self) -> None:
        """Starts the server process and returns when it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *_arguments(self._web_server, self.port), self.application],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:  # also when it says that it is not
            return False

    def beside(self, folder: Path, web_server: WebServer = "daphne", /, **environment: str) -> AnotherProcess:
        """Another web process of this Netra: the same data and users, a port and a log of its own."""
        return AnotherProcess(self, folder, web_server, environment)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """What an SQL query, its parameters as `?`, finds in this Netra's database, read beside the server."""
        return rows(self.environment.get("DATABASE_URL") or self._sqlite_file, query, parameters)

    @property
    def _sqlite_file(self) -> Path:
        return Path(self.environment["NETRA_DATA_DIR"]) / "netra.sqlite3"

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

    def layer_faults(self) -> Counter[str]:
        """What the channel layer did so far, if NETRA_TEST_LAYER_FAULTS has it fail."""
        lines = self.log.read_text().splitlines()
        return Counter(found[1] for line in lines if "layer fault" in line and (found := FAULT.search(line)))

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


class AnotherProcess(RunningNetra):
    """A second web process, made by `RunningNetra.beside`: the first one has made the database and the users."""

    def __init__(
        self, first: RunningNetra, folder: Path, web_server: WebServer, environment: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, web_server)
        self.environment = {**first.environment, "PORT": str(self.port), **environment}
        self.token, self.other_token = first.token, first.other_token

    def start(self) -> None:
        self.run_server()


@functools.cache
def _prepared() -> tuple[str, list[User]]:
    """A data folder with tables, static files and users, made once; it goes with this process."""
    folder = tempfile.mkdtemp(prefix="netra-prepared-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    netra = RunningNetra(Path(folder))
    return netra.environment["NETRA_DATA_DIR"], netra.prepare()


def _arguments(web_server: WebServer, port: int) -> list[str]:
    if web_server == "daphne":
        return ["daphne", "--verbosity", "0", "-b", "127.0.0.1", "-p", str(port)]
    where = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    sockets = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
    return ["uvicorn", *where, *sockets]


def _is_inherited(name: str) -> bool:
    return not name.startswith(("NETRA_", "DJANGO_")) and name not in NOT_INHERITED
