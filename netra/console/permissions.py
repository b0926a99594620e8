"""Who may do what in the console: view, operate, export, and see what is said."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

VIEW_RUNS: Final = "agents.view_agentexecution"
OPERATE: Final = "agents.operate_agentexecution"
EXPORT: Final = "agents.export_agentexecution"
VIEW_CONTENT: Final = "agents.view_content"
"""Requests, results, error texts, the data of events, what approvals are about, and titles of threads."""

HIDDEN: Final = "hidden"
"""What stands in the place of contents."""


def shows_content(request: HttpRequest) -> bool:
    return request.user.has_perm(VIEW_CONTENT)
