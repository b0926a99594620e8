"""Threads as operators see them."""

from __future__ import annotations

from netra.console.readonly import ReadOnlyAdmin


class ThreadAdmin(ReadOnlyAdmin):
    list_display = ("thread_id", "title", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("=thread_id", "title", "=user__username")
