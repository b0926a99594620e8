"""Runs as operators see them and act on them, in a list and one by one. Nothing is edited by hand."""

from __future__ import annotations

from netra.console.run_list import RunListAdmin
from netra.console.run_page import RunPages


class AgentExecutionAdmin(RunPages, RunListAdmin):
    """The list of runs, and the pages of each."""
