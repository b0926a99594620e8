"""The processes that execute runs, as operators see them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
from django.conf import settings

from agents.models import Worker
from netra.console.words import spell

SHOWN_WORKERS: Final = 200


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """`silence` in seconds: since its last sign of life. `running` and `capacity` are numbers of runs."""

    owner: str
    name: str
    silence: float
    is_there: bool
    is_accepting: bool
    running: int
    capacity: int
    started_at: datetime

    @property
    def state(self) -> str:
        if not self.is_there:
            return f"gone: no heartbeat for {spell(self.silence)}"
        return "takes runs" if self.is_accepting else "stopping"


Workers = Mapping[str, WorkerView]
"""By what the leases of their runs name."""


def read_workers(now: datetime) -> dict[str, WorkerView]:
    """One query. Who was killed stays among them for an hour."""
    silent = timedelta(seconds=3 * settings.NETRA_LEASE_RENEW_SECONDS)
    return {
        worker.owner: WorkerView(
            owner=worker.owner,
            name=str(worker),
            silence=max(0.0, (now - worker.seen_at).total_seconds()),
            is_there=now - worker.seen_at <= silent,
            is_accepting=worker.accepting,
            running=worker.running,
            capacity=worker.capacity,
            started_at=worker.started_at,
        )
        for worker in Worker.objects.order_by("-seen_at")[:SHOWN_WORKERS]
    }
