"""The execution record: threads, runs, phase history and the event log. Every invariant is a named constraint.

Only agents.transactions writes status, phase, seq or events; a test that reads the code holds it.
Texts that come from outside are kept as JSON text, because PostgreSQL stores no NUL in text or jsonb.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from agents.ids import MAX_LENGTH, Prefix, new_id
from agents.phases import TERMINAL, AgentExecutionPhase, Status

LIVE_STATUSES = [Status.PENDING.value, Status.RUNNING.value]
OPERATOR_ACTIONS = ("cancel", "end", "retry", "hand_over", "export")
ENDS = sorted(phase.value for phase in TERMINAL)
_LIVE = Q(status__in=LIVE_STATUSES)


def new_thread_id() -> str:
    return new_id(Prefix.THREAD)


class Thread(models.Model):
    """A conversation of one user."""

    thread_id = models.CharField(max_length=MAX_LENGTH, unique=True, default=new_thread_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="threads")
    title = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.thread_id


class ExecutionQuerySet(models.QuerySet["AgentExecution"]):
    def live(self) -> ExecutionQuerySet:
        """Runs that have not ended."""
        return self.filter(_LIVE)

    def lacking_completion(self) -> ExecutionQuerySet:
        """Runs whose agent_completed is not in the log."""
        return self.filter(completed_seq__isnull=True)

    def to_be_cancelled(self) -> ExecutionQuerySet:
        """Runs that somebody wants cancelled, or whose parent has ended."""
        return self.filter(Q(cancel_requested_at__isnull=False) | Q(parent__completed_at__isnull=False))

    def stalled(self, now: datetime) -> ExecutionQuerySet:
        """Live runs whose worker has let its lease run out."""
        return self.live().filter(lease_expires_at__lt=now)

    def for_user(self, user_id: int) -> ExecutionQuerySet:
        return self.filter(user_id=user_id)


class AgentExecution(models.Model):
    """One execution of one agent for one message. Times are UTC, `timeout` is in seconds."""

    run_id = models.CharField(max_length=MAX_LENGTH, unique=True, editable=False)
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="runs")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="runs")
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="children")
    depth = models.PositiveSmallIntegerField(default=0)
    agent_name = models.CharField(max_length=64)
    request_id = models.CharField(max_length=128)  # as registration.stored writes it
    request = models.TextField()
    status = models.CharField(
        max_length=16,
        choices=[(status.value, status.value.replace("_", " ")) for status in Status],
        default="pending",
    )
    phase = models.CharField(
        max_length=24,
        choices=[(phase.value, phase.value.replace("_", " ")) for phase in AgentExecutionPhase],
        default="created",
    )
    attempt = models.PositiveIntegerField(default=0)
    handovers = models.PositiveIntegerField(default=0)  # attempts that ended as their worker stopped, in good order
    restartable = models.BooleanField(default=False)
    owner = models.CharField(max_length=64, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_progress_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    last_seq = models.PositiveIntegerField(default=0)
    phase_count = models.PositiveIntegerField(default=0)
    completed_seq = models.PositiveIntegerField(null=True, blank=True)
    tier = models.CharField(max_length=16)
    timeout = models.FloatField()
    correlation_id = models.CharField(max_length=64, db_index=True)
    result = models.TextField(blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    warnings = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        verbose_name = "run"
        ordering: ClassVar = ["-id"]
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("operate_agentexecution", "Can operate runs"),
            ("export_agentexecution", "Can export runs"),
            ("view_content", "Can see what runs, approvals and threads say"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["lease_expires_at"], condition=_LIVE, name="execution_live"),
            models.Index(fields=["id"], condition=Q(completed_seq__isnull=True), name="execution_lacking"),
            models.Index(fields=["user", "completed_at"], name="execution_user_ended"),
            models.Index(fields=["completed_at"], name="execution_ended"),
            models.Index(fields=["agent_name", "completed_at"], name="execution_agent_ended"),
            # What the console filters by, newest first.
            models.Index(fields=["agent_name", "id"], name="execution_agent"),
            models.Index(fields=["tier", "id"], name="execution_tier"),
            models.Index(fields=["created_at"], name="execution_created"),
            models.Index(
                fields=["status", "id"], condition=Q(completed_seq__isnull=False), name="execution_status_ended"
            ),
            models.Index(fields=["id"], condition=Q(attempt__gt=1), name="execution_again"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "request_id"], name="execution_request_once"),
            models.CheckConstraint(
                condition=Q(_LIVE, completed_at__isnull=True, completed_seq__isnull=True)
                | Q(~_LIVE, completed_at__isnull=False, completed_seq__isnull=False),
                name="execution_ended_iff_completed",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", phase="created")
                | Q(~Q(phase="created") & ~Q(phase__in=ENDS), status="running")
                | Q(status=F("phase"), phase__in=ENDS),
                name="execution_status_follows_phase",
            ),
            models.CheckConstraint(
                condition=Q(completed_seq__isnull=True) | Q(completed_seq=F("last_seq")),
                name="execution_completed_last",
            ),
        ]

    def __str__(self) -> str:
        return self.run_id


class Approval(models.Model):
    """A question of a run to a person. `arguments` is what they were shown, `edited` what they made of it, as JSON."""

    approval_id = models.CharField(max_length=MAX_LENGTH, unique=True, editable=False)
    execution = models.ForeignKey(AgentExecution, on_delete=models.CASCADE, related_name="approvals", db_index=False)
    key = models.CharField(max_length=64)
    reason = models.TextField()
    tool_name = models.CharField(max_length=500, blank=True)
    arguments = models.TextField(blank=True)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decision = models.CharField(
        max_length=16, choices=[(name, name) for name in ("approved", "rejected", "expired")], blank=True
    )
    edited = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["execution", "key"], name="approval_once"),
            models.CheckConstraint(
                condition=Q(decision="", resolved_at__isnull=True) | Q(~Q(decision=""), resolved_at__isnull=False),
                name="approval_resolved_iff_decided",
            ),
        ]

    def __str__(self) -> str:
        return self.approval_id


class ModelAnswer(models.Model):
    """What a language model answered a restartable run, whole, for its next attempt; gone when the run has ended."""

    execution = models.ForeignKey(AgentExecution, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    text = models.TextField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["execution", "key"], name="model_answer_once")]

    def __str__(self) -> str:
        return self.key


class Worker(models.Model):
    """A process that executes runs; `owner` is what its runs' leases name. One that was killed stays for a while."""

    owner = models.CharField(max_length=64, unique=True)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    capacity = models.PositiveIntegerField()
    running = models.PositiveIntegerField()
    accepting = models.BooleanField()

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class PhaseTransition(models.Model):
    """A step of a run from one phase to another; `duration_ms` is the time spent in `from_phase`."""

    execution = models.ForeignKey(AgentExecution, on_delete=models.CASCADE, related_name="transitions", db_index=False)
    ordinal = models.PositiveIntegerField()
    from_phase = models.CharField(max_length=24)
    to_phase = models.CharField(max_length=24)
    at = models.DateTimeField()
    duration_ms = models.FloatField()
    event_seq = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["execution", "ordinal"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["execution", "ordinal"], name="transition_once"),
        ]

    def __str__(self) -> str:
        return f"{self.from_phase} → {self.to_phase}"


class ExecutionEvent(models.Model):
    """An immutable row of the log: `frame` is the text that every socket gets."""

    execution = models.ForeignKey(AgentExecution, on_delete=models.CASCADE, related_name="events", db_index=False)
    seq = models.PositiveIntegerField()
    type = models.CharField(max_length=32)
    frame = models.TextField()
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["execution", "seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["execution", "seq"], name="event_seq_once"),
            models.UniqueConstraint(
                fields=["execution"], condition=Q(type="agent_completed"), name="event_one_agent_completed"
            ),
            models.CheckConstraint(condition=Q(seq__gte=1), name="event_seq_from_1"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"


class OperatorAction(models.Model):
    """What an operator did to a run, or tried to: written once. The database refuses to change or delete a row.

    It refers to nothing, so that it outlives the run and its operator. `applied`: whether anything was changed.
    """

    at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)
    by_id = models.BigIntegerField()
    by_name = models.CharField("by", max_length=150)
    action = models.CharField(max_length=16, choices=[(name, name.replace("_", " ")) for name in OPERATOR_ACTIONS])
    run_id = models.CharField(max_length=MAX_LENGTH, blank=True, db_index=True)
    reason = models.TextField()
    applied = models.BooleanField()
    outcome = models.TextField()

    class Meta:
        verbose_name = "operator action"
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(reason=""), name="operator_action_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.run_id or 'many runs'} by {self.by_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("what an operator did is written once")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("what an operator did is not deleted")
