"""Threads as operators see them: their titles are the beginnings of what users wrote."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from agents.models import Thread
from netra.console.permissions import shows_content
from netra.console.readonly import ReadOnlyAdmin


class ThreadAdmin(ReadOnlyAdmin):
    list_display = ("thread_id", "title", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("=thread_id", "title", "=user__username")
    fields = ("thread_id", "title", "user", "created_at")

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return _without_title(self.list_display, request)

    def get_fields(self, request: HttpRequest, obj: Thread | None = None) -> tuple[Any, ...]:
        return _without_title(self.fields, request)

    def get_search_fields(self, request: HttpRequest) -> tuple[Any, ...]:
        """Who may not see titles may not find out by searching what they say either."""
        return _without_title(self.search_fields, request)


def _without_title(names: tuple[str, ...], request: HttpRequest) -> tuple[Any, ...]:
    return tuple(name for name in names if name != "title" or shows_content(request))
