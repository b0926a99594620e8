"""What operators did, to be read only."""

from __future__ import annotations

from netra.console.readonly import ReadOnlyAdmin


class OperatorActionAdmin(ReadOnlyAdmin):
    list_display = ("at", "by_name", "action", "run_id", "applied", "outcome", "reason")
    list_filter = ("action", "applied", "at")
    list_per_page = 50
    search_fields = ("=run_id", "=by_name")
    search_help_text = "A run's id, or an operator's name."
    fields = ("at", "by_name", "action", "run_id", "reason", "applied", "outcome")
