"""Runs as operators see them: which lack agent_completed, and what happened in one. Nothing is edited by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

import msgspec
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from agents.approvals import Answer, resolve_approval
from agents.errors import ApprovalClosed
from agents.ids import Prefix, is_id
from agents.models import AgentExecution, Approval, Thread
from agents.redaction import redact
from agents.registration import request_cancel
from agents.registry import get_agent_registry
from agents.runner import tell_of_answer, tell_of_cancel
from agents.tiers import TIERS

SHOWN_EVENTS = 500
"""Events on a run's page: the first and the last half of so many."""


admin.site.site_header = admin.site.site_title = "Netra"
admin.site.index_title = "Operations"


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Records are written by Netra alone."""

    class Media:
        css: ClassVar = {"all": ["agents/admin.css"]}

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class CompletionFilter(admin.SimpleListFilter):
    title = "agent_completed"
    parameter_name = "agent_completed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("lacking", "lacks agent_completed"), ("sent", "has agent_completed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "lacking":
                return queryset.filter(completed_seq__isnull=True)
            case "sent":
                return queryset.filter(completed_seq__isnull=False)
            case _:
                return queryset


class NameFilter(admin.SimpleListFilter):
    """Names that are known: to look for all that ever were would be to read all runs."""

    def names(self) -> Iterable[str]:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(name, name) for name in self.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        assert self.parameter_name is not None
        return queryset if self.value() is None else queryset.filter(**{self.parameter_name: self.value()})


class AgentFilter(NameFilter):
    title = "agent"
    parameter_name = "agent_name"

    def names(self) -> Iterable[str]:
        return [spec.name for spec in get_agent_registry().agents()]


class TierFilter(NameFilter):
    title = "tier"
    parameter_name = "tier"

    def names(self) -> Iterable[str]:
        return TIERS


SEARCHED: Final = {
    Prefix.RUN: "run_id",
    Prefix.THREAD: "thread__thread_id",
    Prefix.CORRELATION: "correlation_id",
}


@admin.register(AgentExecution)
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
        return _json_block(redact(msgspec.json.decode(run.request)))

    @admin.display(description="result")
    def result_text(self, run: AgentExecution) -> SafeString | str:
        return _json_block(msgspec.json.decode(run.result)) if run.result else "–"

    @admin.display(description="phase history")
    def phases(self, run: AgentExecution) -> SafeString:
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} ms</td><td>{}</td></tr>",
            (
                (
                    step.ordinal,
                    f"{step.at:%H:%M:%S.%f}",
                    step.from_phase,
                    step.to_phase,
                    f"{step.duration_ms:,.1f}",
                    step.event_seq or "",
                )
                for step in run.transitions.all()
            ),
        )
        return _table(("", "at", "from", "to", "spent in from", "event"), rows)

    @admin.display(description="event log")
    def event_log(self, run: AgentExecution) -> SafeString:
        events = run.events.order_by("seq")
        half = SHOWN_EVENTS // 2
        shown = list(events[:half]) + list(events.filter(seq__gt=max(half, run.last_seq - half)))
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
            ((event.seq, f"{event.at:%H:%M:%S.%f}", event.type, _data_of(event.frame)) for event in shown),
        )
        table = _table(("seq", "at", "type", "data"), rows)
        left_out = run.last_seq - len(shown)
        return (
            format_html("{}<p>{:,} events in the middle are not shown.</p>", table, left_out) if left_out > 0 else table
        )


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    list_display = (
        "approval_id",
        "execution",
        "user",
        "reason",
        "requested_at",
        "expires_at",
        "decision",
        "resolved_by",
    )
    list_filter = ("decision", "requested_at")
    list_select_related = ("execution__user", "resolved_by")
    search_fields = ("=approval_id", "=execution__run_id", "=execution__user__username")
    actions = ("approve", "reject")
    fields = (
        *("approval_id", "execution", "reason", "tool_name", "arguments", "requested_at", "expires_at"),
        *("decision", "edited_arguments", "comment", "resolved_at", "resolved_by"),
    )

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agents.operate_agentexecution")

    @admin.display(description="user")
    def user(self, approval: Approval) -> str:
        return str(approval.execution.user)

    @admin.display(description="arguments, as edited")
    def edited_arguments(self, approval: Approval) -> SafeString | str:
        return _json_block(redact(msgspec.json.decode(approval.edited))) if approval.edited else "–"

    @admin.action(description="Approve the selected", permissions=["operate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        """As their users could, with the arguments as they are."""
        self._answer(request, queryset, "approve")

    @admin.action(description="Reject the selected", permissions=["operate"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        self._answer(request, queryset, "reject")

    def _answer(self, request: HttpRequest, queryset: QuerySet[Approval], answer: Answer) -> None:
        answered = 0
        for approval in queryset.select_related("execution"):
            run_id = approval.execution.run_id
            try:
                resolve_approval(
                    user_id=None, run_id=run_id, approval_id=approval.approval_id, answer=answer, by=request.user.pk
                )
            except ApprovalClosed as error:
                self.message_user(request, f"{approval}: {error.message}", messages.WARNING)
                continue
            self.log_change(request, approval, f"Answered: {answer}.")
            tell_of_answer(run_id)
            answered += 1
        if answered:
            self.message_user(request, f"{answered} answered.", messages.SUCCESS)


@admin.register(Thread)
class ThreadAdmin(ReadOnlyAdmin):
    list_display = ("thread_id", "title", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("=thread_id", "title", "=user__username")


def _table(heads: Sequence[str], rows: SafeString) -> SafeString:
    head = format_html_join("", "<th>{}</th>", ((text,) for text in heads))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, rows)


def _json_block(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def _data_of(frame: str) -> str:
    text = json.dumps(msgspec.json.decode(frame)["data"], ensure_ascii=False)
    return text if len(text) <= 1_000 else f"{text[:1_000]}… ({len(text):,} characters)"
