"""A server process for tests, on a free port of 127.0.0.1: to be stopped, killed, paused and started again."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of linux/prctl.h

_LIBC: Final = ctypes.CDLL(None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def package_folder(package: str) -> Path:
    """Where a wheel that brings a server lies; nothing of it is imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"There is no {package} here: install requirements-dev.txt, as `make test` does.")
    return Path(spec.submodule_search_locations[0])


class Server(ABC):
    """Used as a context manager; `url` is good from `start` on, also after a restart. Its data goes when it is closed.

    With `given`, the URL of a server that runs already, nothing is started, and nothing of it may be stopped.
    On Linux the process ends with the thread that started it, even if that is killed: start it in the main thread.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, given: str = "") -> None:
        self.given = given
        self.port = 0 if given else free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix=f"netra-{self.name}-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves; returns soon."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """What has to be done before the first start."""

    def identity(self) -> dict[str, Any]:
        """As whom it runs: keywords of subprocess."""
        return {}

    def start(self) -> None:
        """Starts it and returns when it answers."""
        if self.given:
            return
        self._process = self.spawn(self.command())
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts a process that ends with this one."""
        parent = os.getpid()

        def die_with_parent() -> None:  # in the child, after it has become who it is to be
            _LIBC.prctl(SET_DEATH_SIGNAL, self.death_signal)
            if os.getppid() != parent:
                os._exit(1)

        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - it takes no lock
                **self.identity(),
            )

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError(f"This {self.name} was not started here{', but is yours' if self.given else ''}.")
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Its port still accepts, and nothing answers."""
        self.send_signal(signal.SIGSTOP)

    def unpause(self) -> None:
        self.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it in good order; its port refuses."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """As by `kill -9`."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        self.send_signal(number)
        self.unpause()
        assert self._process is not None
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(self.death_signal)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            if not self.given:
                self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
