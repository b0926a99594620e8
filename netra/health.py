"""Whether this process can serve. One answer for `/readyz`, for `manage.py ready` and for every socket that comes.

The parts are asked in the background, so that the answer is there at once, however slow a part has become.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import msgspec
import structlog

Status = Literal["ok", "degraded", "failed"]
SEVERITY: Final[Sequence[Status]] = ("ok", "degraded", "failed")

PROBE_SECONDS: Final = 2.0
PROBE_AGAIN_SECONDS: Final = 0.5
"""While something has failed: what is back serves again soon."""
PATIENCE_SECONDS: Final = 3.0
"""Below the 4 s that a handshake may take."""

log = structlog.get_logger(__name__)


class Finding(msgspec.Struct, frozen=True):
    """What is told of a part, to anybody: a sentence without names of hosts and without secrets."""

    status: Status
    message: str = ""


class Report(msgspec.Struct, frozen=True):
    """`status` is the worst of the findings. Degraded: users are served, though later or not for long."""

    status: Status
    checks: dict[str, Finding]

    @property
    def is_ready(self) -> bool:
        return self.status != "failed"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Asks one part. When `ask` raises, or does not return within PATIENCE_SECONDS, the finding is `otherwise`."""

    name: str
    ask: Callable[[], Awaitable[Finding]]
    otherwise: Finding


OK: Final = Finding("ok")
STARTING: Final = Finding("failed", "The server is starting.")
STOPPING: Final = Finding("failed", "The server is stopping.")


class Health:
    """Lives in the event loop that serves; `probes` may be added to until `start`."""

    def __init__(self, probes: Sequence[Probe], *, patience: float = PATIENCE_SECONDS) -> None:
        self.probes = list(probes)
        self._patience = patience
        self._findings = {"server": STARTING}
        self._asked: dict[str, asyncio.Task[Finding]] = {}
        self._probed = asyncio.Event()
        self._duty: asyncio.Task[None] | None = None

    @property
    def report(self) -> Report:
        """What was found last; at most some seconds old."""
        worst = max((finding.status for finding in self._findings.values()), key=SEVERITY.index)
        return Report(worst, dict(self._findings))

    async def is_ready(self) -> bool:
        """Whether new sockets are to be served; while the server starts, waits until that is known."""
        await self._probed.wait()
        return self.report.is_ready

    def start(self) -> None:
        _of_process[:] = [self]
        self._duty = asyncio.create_task(self._watch(), name="health")

    def stop(self) -> None:
        """From now on this process is not ready."""
        _of_process.clear()
        for task in (self._duty, *self._asked.values()):
            if task is not None:
                task.cancel()
        self._note("server", STOPPING)
        self._probed.set()

    async def _watch(self) -> None:
        while True:
            findings = await asyncio.gather(*(self._ask(probe) for probe in self.probes))
            for probe, finding in zip(self.probes, findings, strict=True):
                self._note(probe.name, finding)
            self._note("server", OK)
            self._probed.set()
            await asyncio.sleep(PROBE_SECONDS if self.report.is_ready else PROBE_AGAIN_SECONDS)

    async def _ask(self, probe: Probe) -> Finding:
        """Waits no longer than its patience: not for a thread that hangs, nor for a task that defies cancellation."""
        task = self._asked.get(probe.name)
        if task is None or task.done():
            task = asyncio.create_task(_finding_of(probe), name=f"probe of {probe.name}")
            self._asked[probe.name] = task
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if done and not task.cancelled():
            return task.result()
        task.cancel()
        return probe.otherwise

    def _note(self, name: str, finding: Finding) -> None:
        if self._findings.get(name, OK) != finding:
            say = log.info if finding.status == "ok" else log.warning
            say("health", check=name, status=finding.status, message=finding.message)
        self._findings[name] = finding


async def _finding_of(probe: Probe) -> Finding:
    try:
        return await probe.ask()
    except Exception as error:  # whatever it is: it is told in the log, and the part does not work
        log.debug("probe failed", check=probe.name, error=repr(error))
        return probe.otherwise


_of_process: Final[list[Health]] = []


def report_of_process() -> Report | None:
    """What this process found of itself last; may be asked on any thread. None: it is not one that serves."""
    return _of_process[0].report if _of_process else None
