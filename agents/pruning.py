"""How long the log is kept: the events of runs that ended long ago go, their records and completions stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.db import transaction

from agents.models import AgentExecution, ExecutionEvent, ModelAnswer

BATCH_RUNS: Final = 100
"""Runs whose events one transaction deletes, so that nobody waits long for the database."""


def prune_events(*, ended_before: datetime) -> Iterator[tuple[int, int]]:
    """Deletes events, batch by batch; yields how many runs and events each batch was. Safe to run again at any time."""
    last_pk = 0
    while True:
        with transaction.atomic():
            ended = AgentExecution.objects.filter(completed_at__lt=ended_before, pk__gt=last_pk).order_by("pk")
            keys = list(ended.values_list("pk", flat=True)[:BATCH_RUNS])
            if not keys:
                return
            events = ExecutionEvent.objects.filter(execution__in=keys).exclude(type="agent_completed")
            deleted, _ = events.delete()
            ModelAnswer.objects.filter(execution__in=keys).delete()
        last_pk = keys[-1]
        yield len(keys), deleted
