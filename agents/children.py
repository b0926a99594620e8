"""Child runs in the database: each made once for a parent, found again by the parent's next attempt.

A child lives no longer than its parent: whoever executes it asks whether the parent has ended (agents.leases).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.db import transaction

from agents.database import lock_users
from agents.errors import AgentError, LimitReached
from agents.leases import require_held
from agents.models import AgentExecution
from agents.registration import Terms, make_run
from agents.runs import Run, RunRequest

MAX_DEPTH: Final = 5
"""How many runs may stand above a run."""
KEPT_ENDS: Final = ("completed", "failed", "timed_out")
"""How a child's work ends; a child that was cancelled or lost is made anew when its parent asks for it again."""


class ChildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A child as the database has it; `output` is None until it has ended."""

    pk: int
    run_id: str
    status: str
    has_ended: bool
    output: Any
    error_code: str
    error_message: str


def register_child(parent: Run, *, key: str, request: RunRequest, terms: Callable[[float], Terms]) -> ChildRecord:
    """Makes a child run, or finds the one that an earlier attempt of its parent made under this key. One transaction.

    `terms` is given the seconds that the parent has left. Raises Fenced if the parent is not its worker's any more;
    AgentError, LimitReached, or what `terms` raises.
    """
    with transaction.atomic():
        lock_users([parent.user_id])
        above = require_held(parent)
        # No client can send such a request_id: registration.stored doubles each backslash.
        request_id = f"\\child {parent.run_id} {key}"
        earlier = AgentExecution.objects.filter(parent_id=parent.pk, request_id__startswith=f"{request_id} ")
        made = list(earlier.order_by("pk"))
        if made and (made[-1].completed_at is None or made[-1].status in KEPT_ENDS):
            return _record_of(made[-1])
        return _record_of(_make(parent, above, f"{request_id} {len(made)}", request, terms))


def read_child(pk: int) -> ChildRecord:
    return _record_of(AgentExecution.objects.get(pk=pk))


def _make(
    parent: Run, above: AgentExecution, request_id: str, request: RunRequest, terms: Callable[[float], Terms]
) -> AgentExecution:
    if above.depth >= MAX_DEPTH:
        sentence = f"A run may have {MAX_DEPTH} runs above it and no more. Let this agent do the work itself."
        raise AgentError("too_deep", sentence)
    assert above.deadline_at is not None  # it is being executed
    agreed = terms(max(0.001, (above.deadline_at - datetime.now(UTC)).total_seconds()))
    live = AgentExecution.objects.live().for_user(parent.user_id).count()
    if live >= agreed.live_limit:
        raise LimitReached(f"Its user has {live} runs that have not ended, the most allowed.")
    return make_run(above.thread, request_id, request, agreed, parent=above)


def _record_of(child: AgentExecution) -> ChildRecord:
    return ChildRecord(
        pk=child.pk,
        run_id=child.run_id,
        status=child.status,
        has_ended=child.completed_at is not None,
        output=msgspec.json.decode(child.result)["output"] if child.result else None,
        error_code=child.error_code,
        error_message=child.error_message,
    )
