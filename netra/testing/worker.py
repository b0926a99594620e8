"""A worker for tests: `manage.py agent_worker` of a running Netra, to be killed, paused and stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from netra.testing.server import ROOT, RunningNetra
from netra.testing.servers import Server


class RunningWorker(Server):
    """Executes the runs of `netra`, whose environment names a PostgreSQL and a Redis; `environment` overrides it."""

    name = "worker"

    def __init__(self, netra: RunningNetra, **environment: str) -> None:
        super().__init__()
        self._environment = netra.environment | environment

    @property
    def url(self) -> str:
        raise AssertionError("A worker has no address: nobody connects to it.")

    def command(self) -> Sequence[str]:
        return [sys.executable, str(ROOT / "manage.py"), "agent_worker"]

    def identity(self) -> dict[str, Any]:
        return {"env": self._environment}

    def start(self) -> None:
        self.log.unlink(missing_ok=True)
        super().start()

    def answers(self) -> bool:
        return "runner started" in self.log.read_text()
