from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Agents"

    def ready(self) -> None:
        """Finds the agents of every installed app, in its `agents.py`, as Django finds `admin.py`."""
        from agents import checks  # noqa: F401, PLC0415 - registers the system checks

        autodiscover_modules("agents")
