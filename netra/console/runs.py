"""Runs as operators see them: which lack agent_completed, and what happened in one. Nothing is edited by hand."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from agents.ids import Prefix, is_id
from agents.models import AgentExecution
from agents.redaction import redact
from agents.registration import request_cancel
from agents.runner import tell_of_cancel
from netra.console.filters import AgentFilter, CompletionFilter, TierFilter
from netra.console.readonly import ReadOnlyAdmin, json_block
from netra.console.run_page import event_table, phase_table
from netra.console.why import explained

SEARCHED: Final = {
    Prefix.RUN: "run_id",
    Prefix.THREAD: "thread__thread_id",
    Prefix.CORRELATION: "correlation_id",
}


class AgentExecutionAdmin(ReadOnlyAdmin):
    list_display = (
        "run_id",
        "has_agent_completed",
        "status",
        "phase",
        "last_activity",
        "agent_name",
        "user",
        "attempt",
        "last_seq",
        "created_at",
    )
    list_filter = (CompletionFilter, "status", "phase", AgentFilter, TierFilter, "created_at")
    list_select_related = ("user",)
    list_per_page = 50
    search_fields = ("user__username",)
    search_help_text = "A run's, thread's or correlation id, or a user's name."
    ordering = ("-id",)
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return explained(super().get_queryset(request), timezone.now())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id says by its prefix whose it is, so that one index answers."""
        term = search_term.strip()
        column = next((name for prefix, name in SEARCHED.items() if is_id(term, prefix)), "user__username")
        return (queryset.filter(**{column: term}) if term else queryset), False

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

    @admin.display(boolean=True, description="agent_completed")
    def has_agent_completed(self, run: AgentExecution) -> bool:
        return run.completed_seq is not None

    @admin.display(description="last activity")
    def last_activity(self, run: AgentExecution) -> str:
        moment = run.last_progress_at or run.created_at
        if run.completed_at is None:
            return f"{(timezone.now() - moment).total_seconds():,.0f} s ago"
        return f"{timesince(moment)} ago"

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
