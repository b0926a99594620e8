"""The list of runs: found by a filter or an id, each with why it lacks agent_completed. Fast however many there are."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.ids import Prefix, is_id
from agents.models import AgentExecution
from netra.console.filters import (
    AgeFilter,
    AgentFilter,
    AttemptFilter,
    CompletionFilter,
    PhaseFilter,
    ReasonFilter,
    StatusFilter,
    TierFilter,
)
from netra.console.readonly import ReadOnlyAdmin
from netra.console.why import Why, explained, why
from netra.console.words import spell
from netra.console.workers import read_workers

COUNTED: Final = 1_000
"""Beyond it nobody counts: "1,000+", and no page comes after those."""
LARGE: Final = ("request", "result", "warnings")
"""Columns that the list does not show, and that may hold a megabyte each."""
SEARCHED: Final = {
    Prefix.RUN: "run_id",
    Prefix.THREAD: "thread__thread_id",
    Prefix.CORRELATION: "correlation_id",
}


class AtLeast(int):
    """A number for templates to show: so many, or more."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class BoundedPaginator(Paginator[Any]):
    """Counts no further than COUNTED: to count a million rows takes longer than to read them."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        found = rows.order_by().values("pk")[:COUNTED].count()
        return AtLeast(found) if found == COUNTED else found


class RunList(ChangeList):
    """Reads of a page's runs what is shown of them, and why they lack agent_completed: two queries for all."""

    def get_results(self, request: HttpRequest) -> None:
        self.queryset = self.queryset.defer(*LARGE)
        super().get_results(request)
        now = timezone.now()
        workers = read_workers(now)
        self.result_list = list(self.result_list)
        for run in self.result_list:
            run.why = why(run, workers, now)


class RunListAdmin(ReadOnlyAdmin):
    class Media:
        css: ClassVar = {"all": ["netra/colours.css", "netra/run-list.css"]}

    list_display = (
        "run_id",
        "why",
        "outcome",
        "progress",
        "last_activity",
        "agent_name",
        "user",
        "attempt",
        "created_at",
    )
    list_filter = (
        *(CompletionFilter, ReasonFilter, AgeFilter, StatusFilter),
        *(PhaseFilter, AgentFilter, TierFilter, AttemptFilter),
    )
    list_select_related = ("user",)
    list_per_page = 50
    list_max_show_all = 200
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("created_at",)
    ordering = ("-id",)
    paginator = BoundedPaginator
    search_fields = ("user__username",)
    search_help_text = "A run's, thread's or correlation id, or a user's name."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return explained(super().get_queryset(request), timezone.now())

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return RunList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id says by its prefix whose it is, so that one index answers."""
        term = search_term.strip()
        if not term:
            return queryset, False
        for prefix, column in SEARCHED.items():
            if is_id(term, prefix):
                return queryset.filter(**{column: term}), False
        user = get_user_model().objects.filter(username=term).values_list("pk", flat=True).first()
        return queryset.filter(user_id=user) if user is not None else queryset.none(), False

    @admin.display(boolean=True, description="agent_completed")
    def has_agent_completed(self, run: AgentExecution) -> bool:
        return run.completed_seq is not None

    @admin.display(description="status", ordering=None)
    def outcome(self, run: AgentExecution) -> SafeString:
        return format_html('<span class="netra-status {}">{}</span>', run.status, run.get_status_display())

    @admin.display(description="why it lacks agent_completed")
    def why(self, run: AgentExecution) -> SafeString | str:
        found: Why | None = getattr(run, "why")  # noqa: B009 - of RunList, which the type checker does not see
        if found is None:
            return ""
        return format_html('<span class="netra-why {}">{}</span>', found.reason.value, found.words)

    @admin.display(description="progress")
    def progress(self, run: AgentExecution) -> SafeString:
        return progress_of(run, timezone.now())

    @admin.display(description="last activity")
    def last_activity(self, run: AgentExecution) -> str:
        moment = run.completed_at or run.last_progress_at or run.created_at
        return f"{spell((timezone.now() - moment).total_seconds())} ago"


def progress_of(run: AgentExecution, now: datetime) -> SafeString:
    """How many events there are, and for a live run how much of its time is gone."""
    events = f"{run.last_seq:,} event{'' if run.last_seq == 1 else 's'}"
    if run.completed_at is not None or run.deadline_at is None:
        return format_html("{}", events)
    gone = max(0.0, run.timeout - (run.deadline_at - now).total_seconds())
    return format_html(
        '{} <progress max="{}" value="{}">{} of {}</progress>',
        events,
        f"{run.timeout:.0f}",
        f"{min(gone, run.timeout):.0f}",
        spell(gone),
        spell(run.timeout),
    )
