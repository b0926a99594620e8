"""The admin's site: its first page tells whether anybody waits."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from netra.console.dashboard import read_dashboard
from netra.console.pictures import shown


class Console(admin.AdminSite):
    site_header = site_title = "Netra"
    index_title = "Operations"
    index_template = "netra/dashboard.html"
    enable_nav_sidebar = False  # the list of runs needs the width

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Who may not see runs sees what they may: the admin's own list."""
        context: dict[str, Any] = {}
        if request.user.has_perm("agents.view_agentexecution"):
            context = shown(read_dashboard(timezone.now()))
        return super().index(request, {**context, **(extra_context or {})})
