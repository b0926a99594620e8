"""A run among the runs that it started, and those that started it."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from agents.models import AgentExecution

SHOWN = 200
COLUMNS = ("pk", "parent_id", "run_id", "agent_name", "status", "created_at", "completed_at")


class Kin(msgspec.Struct, frozen=True):
    """A line of the tree; `depth` 0 is the run that a user started."""

    depth: int
    run: AgentExecution
    is_this: bool


def read_family(run: AgentExecution) -> list[Kin]:
    """Parents before their children, each as it was made; empty if there are none. A query a generation."""
    runs = AgentExecution.objects.only(*COLUMNS)
    root = run
    while root.parent_id is not None:
        root = runs.get(pk=root.parent_id)
    below: dict[int, list[AgentExecution]] = defaultdict(list)
    generation, count = [root.pk], 1
    while generation and count < SHOWN:
        found = list(runs.filter(parent_id__in=generation).order_by("pk")[: SHOWN - count])
        for child in found:
            assert child.parent_id is not None
            below[child.parent_id].append(child)
        generation, count = [child.pk for child in found], count + len(found)
    return list(_lines(root, below, run.pk, 0)) if below else []


def _lines(run: AgentExecution, below: dict[int, list[AgentExecution]], this: int, depth: int) -> list[Kin]:
    lines = [Kin(depth, run, run.pk == this)]
    for child in below.get(run.pk, ()):
        lines += _lines(child, below, this, depth + 1)
    return lines
