"""Approvals in the database: asked for by a run, answered once by its user or an operator, or decided by time.

While one is open, the deadlines of its run and of the runs above are put off by as long as the answer may take.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from django.db import transaction
from django.db.models import F

from agents.errors import ApprovalClosed, NotFound
from agents.events import Decision
from agents.ids import Prefix, is_id, new_id
from agents.leases import require_held
from agents.models import AgentExecution, Approval
from agents.notices import notice_ring
from agents.runs import Run

Answer = Literal["approve", "reject"]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked; `arguments` as people are shown them, `seconds` that the answer may take."""

    reason: str
    tool_name: str | None
    arguments: dict[str, Any] | None
    seconds: float


class ApprovalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as the database has it; `decision` is None while it is open, `arguments` are the person's, if any."""

    pk: int
    approval_id: str
    expires_at: datetime
    decision: Decision | None
    arguments: dict[str, Any] | None
    comment: str


def open_approval(run: Run, *, key: str, question: Question) -> ApprovalRecord:
    """Asks, or finds what an earlier attempt of the run asked under this key. Raises Fenced."""
    with transaction.atomic():
        _lock_family(run.pk)
        require_held(run)
        earlier = Approval.objects.filter(execution_id=run.pk, key=key).first()
        if earlier is not None:
            return _record_of(earlier)
        now, allowed = datetime.now(UTC), timedelta(seconds=question.seconds)
        approval = Approval.objects.create(
            approval_id=new_id(Prefix.APPROVAL),
            execution_id=run.pk,
            key=key,
            reason=question.reason.replace("\0", ""),
            tool_name=(question.tool_name or "").replace("\0", ""),
            arguments="" if question.arguments is None else msgspec.json.encode(question.arguments).decode(),
            requested_at=now,
            expires_at=now + allowed,
        )
        _put_off(run.pk, allowed)
        return _record_of(approval)


def read_approval(pk: int) -> ApprovalRecord:
    return _record_of(Approval.objects.get(pk=pk))


def resolve_approval(
    *,
    user_id: int | None,
    run_id: str,
    approval_id: str,
    answer: Answer,
    arguments: dict[str, Any] | None = None,
    comment: str = "",
    by: int | None = None,
) -> Decision:
    """Notes an answer; the first one counts, and the same once more, as after a lost connection, changes nothing.

    `user_id` None: an operator answers, whose key is `by`. Raises NotFound for unknown approvals and those of somebody
    else, ApprovalClosed when it is too late.
    """
    approval = find_approval(user_id, run_id, approval_id)
    decision: Decision = "approved" if answer == "approve" else "rejected"
    edited = "" if arguments is None else msgspec.json.encode(arguments).decode()
    noted = {"edited": edited, "comment": comment.replace("\0", ""), "resolved_by_id": by}
    with transaction.atomic():
        _lock_family(approval.execution_id)
        if by is not None and Approval.objects.filter(pk=approval.pk, decision=decision, **noted).exists():
            return decision
        if _is_decided(approval.pk):
            raise ApprovalClosed("This approval has been decided already.")
        is_live = AgentExecution.objects.live().filter(pk=approval.execution_id).exists()
        if not is_live or approval.expires_at <= datetime.now(UTC):
            raise ApprovalClosed("This approval is not open any more: its time is over, or its run has ended.")
        _decide(approval, decision, **noted)
        notice_ring(run_id)
    return decision


def expire_approval(pk: int) -> ApprovalRecord:
    """Lets time decide, unless somebody has."""
    with transaction.atomic():
        approval = Approval.objects.get(pk=pk)
        _lock_family(approval.execution_id)
        if not _is_decided(pk):
            _decide(approval, "expired")
        return read_approval(pk)


def find_approval(user_id: int | None, run_id: str, approval_id: str) -> Approval:
    """With its run. Raises NotFound; `user_id` None: whosever it is."""
    approvals = Approval.objects.filter(approval_id=approval_id, execution__run_id=run_id).select_related("execution")
    if user_id is not None:
        approvals = approvals.filter(execution__user_id=user_id)
    is_sound = is_id(run_id, Prefix.RUN) and is_id(approval_id, Prefix.APPROVAL)
    approval = approvals.first() if is_sound else None
    if approval is None:
        raise NotFound("You have no approval with this approval_id in this run.", field="approval_id")
    return approval


def _is_decided(pk: int) -> bool:
    """To be asked when the run's record is locked."""
    return Approval.objects.filter(pk=pk).exclude(decision="").exists()


def _decide(approval: Approval, decision: Decision, **answer: Any) -> None:
    now = datetime.now(UTC)
    Approval.objects.filter(pk=approval.pk).update(decision=decision, resolved_at=now, **answer)
    _put_off(approval.execution_id, min(now - approval.expires_at, timedelta(0)))


def _family_of(pk: int) -> list[int]:
    """A run and those above it; never changes."""
    keys: list[int] = []
    next_up: int | None = pk
    while next_up is not None:
        keys.append(next_up)
        next_up = AgentExecution.objects.values_list("parent_id", flat=True).get(pk=next_up)
    return sorted(keys)


def _lock_family(pk: int) -> None:
    """In the order of keys; see agents.database."""
    family = AgentExecution.objects.filter(pk__in=_family_of(pk)).order_by("pk")
    list(family.select_for_update(no_key=True).values_list("pk"))


def _put_off(pk: int, by: timedelta) -> None:
    AgentExecution.objects.filter(pk__in=_family_of(pk)).update(deadline_at=F("deadline_at") + by)


def _record_of(approval: Approval) -> ApprovalRecord:
    return ApprovalRecord(
        pk=approval.pk,
        approval_id=approval.approval_id,
        expires_at=approval.expires_at,
        decision=msgspec.convert(approval.decision, Decision) if approval.decision else None,
        arguments=msgspec.json.decode(approval.edited) if approval.edited else None,
        comment=approval.comment,
    )
