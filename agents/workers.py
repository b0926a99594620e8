"""Which processes execute runs, as they themselves say with every renewal of their leases. For operators and `/readyz`.

Nothing is decided by it: what a run's worker may do is said by the run's own lease.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from agents.models import Worker

FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""Who has said nothing for so long is taken off the list; until then operators see that somebody is missing."""


def note_worker(*, owner: str, capacity: int, running: int, accepting: bool, now: datetime | None = None) -> None:
    now = now or timezone.now()
    said = {"seen_at": now, "capacity": capacity, "running": running, "accepting": accepting}
    if not Worker.objects.filter(owner=owner).update(**said):
        Worker.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()
        first = {"host": socket.gethostname()[:255], "pid": os.getpid(), "started_at": now}
        Worker.objects.get_or_create(owner=owner, defaults=said | first)


def forget_worker(*, owner: str) -> None:
    Worker.objects.filter(owner=owner).delete()


def is_anybody_working(*, since: datetime, besides: str = "") -> bool:
    """Whether a worker that takes runs has been seen since then; `besides` does not count."""
    return Worker.objects.filter(seen_at__gte=since, accepting=True).exclude(owner=besides).exists()
