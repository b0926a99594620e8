"""Filters of the list of runs, each answered by an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agents.models import LIVE_STATUSES
from agents.phases import TERMINAL, AgentExecutionPhase, Status
from agents.registry import get_agent_registry
from agents.tiers import TIERS
from netra.console.why import Reason, frozen

OLDER: Final = {
    "10s": ("10 seconds", timedelta(seconds=10)),
    "1m": ("a minute", timedelta(minutes=1)),
    "5m": ("5 minutes", timedelta(minutes=5)),
    "1h": ("an hour", timedelta(hours=1)),
}
YOUNGER: Final = {
    "15m": ("15 minutes", timedelta(minutes=15)),
    "1h": ("hour", timedelta(hours=1)),
    "1d": ("day", timedelta(days=1)),
    "7d": ("7 days", timedelta(days=7)),
}


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


class ReasonFilter(admin.SimpleListFilter):
    """By why they lack agent_completed; and those in front of which users wait in vain."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("frozen", "its user waits in vain"), *Reason.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case None:
                return queryset
            case "frozen":
                return frozen(queryset, timezone.now())
            case reason:
                return queryset.filter(completed_seq__isnull=True, reason=reason)


class AgeFilter(admin.SimpleListFilter):
    """By when a run was made."""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        older = [(f"over-{age}", f"older than {words}") for age, (words, _) in OLDER.items()]
        return [*older, *((f"under-{age}", f"of the last {words}") for age, (words, _) in YOUNGER.items())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        side, _, age = (self.value() or "").partition("-")
        if side == "over" and age in OLDER:
            return queryset.filter(created_at__lt=timezone.now() - OLDER[age][1])
        if side == "under" and age in YOUNGER:
            return queryset.filter(created_at__gte=timezone.now() - YOUNGER[age][1])
        return queryset


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(status.value, _in_words(status)) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else _with_status(queryset, str(self.value()))


class PhaseFilter(admin.SimpleListFilter):
    """Phases in which a run can be for a while; the last one of a run is its status."""

    title = "phase"
    parameter_name = "phase"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(phase.value, _in_words(phase)) for phase in AgentExecutionPhase if phase not in TERMINAL]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        phase = self.value()
        return queryset if phase is None else queryset.filter(completed_seq__isnull=True, phase=phase)


class AttemptFilter(admin.SimpleListFilter):
    title = "attempt"
    parameter_name = "attempt"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("again", "taken over: attempt > 1")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(attempt__gt=1) if self.value() == "again" else queryset


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


def _with_status(queryset: QuerySet[Any], status: str) -> QuerySet[Any]:
    """Those that have ended and those that have not are found by an index each."""
    return queryset.filter(status=status, completed_seq__isnull=status in LIVE_STATUSES)


def _in_words(name: str) -> str:
    return name.replace("_", " ")
