"""One run as operators see it, and what they can do about it. Nothing is edited by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from agents.models import AgentExecution
from agents.redaction import redact
from agents.registration import request_cancel
from agents.runner import tell_of_cancel
from netra.console.readonly import json_block
from netra.console.run_list import RunListAdmin
from netra.console.run_page import event_table, phase_table


class AgentExecutionAdmin(RunListAdmin):
    actions = ("cancel_runs",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("run_id", "user", "thread", "parent", "agent_name", "request_text")}),
        ("Where it is", {"fields": ("status", "phase", "last_activity", "has_agent_completed", "cancel_requested_at")}),
        ("Outcome", {"fields": ("error_code", "error_message", "warnings", "result_text")}),
        ("Phases", {"fields": ("phases",)}),
        ("Events", {"fields": ("event_log",)}),
        ("Limits and worker", {"fields": ("tier", "timeout", "deadline_at", "attempt", "owner", "lease_expires_at")}),
        ("Ids and times", {"fields": ("request_id", "correlation_id", "created_at", "started_at", "completed_at")}),
    )

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agents.operate_agentexecution")

    @admin.action(description="Cancel the selected runs", permissions=["operate"])
    def cancel_runs(self, request: HttpRequest, queryset: QuerySet[AgentExecution]) -> None:
        """As their users could: a run ends as cancelled, with what it has said so far."""
        live = list(queryset.filter(pk__in=AgentExecution.objects.live()))
        for run in live:
            request_cancel(user_id=None, run_id=run.run_id, now=timezone.now())
            self.log_change(request, run, "Cancel asked for.")
            tell_of_cancel(run.run_id)
        if live:
            self.message_user(request, f"{len(live)} to be cancelled.", messages.SUCCESS)
        if ended := queryset.count() - len(live):
            self.message_user(request, f"{ended} had ended already: nothing was changed there.", messages.WARNING)

    @admin.display(description="request")
    def request_text(self, run: AgentExecution) -> SafeString:
        return json_block(redact(msgspec.json.decode(run.request)))

    @admin.display(description="result")
    def result_text(self, run: AgentExecution) -> SafeString | str:
        return json_block(msgspec.json.decode(run.result)) if run.result else "–"

    @admin.display(description="phase history")
    def phases(self, run: AgentExecution) -> SafeString:
        return phase_table(run)

    @admin.display(description="event log")
    def event_log(self, run: AgentExecution) -> SafeString:
        return event_table(run)
