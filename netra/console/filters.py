"""Filters of the list of runs, each answered by an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agents.registry import get_agent_registry
from agents.tiers import TIERS


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
