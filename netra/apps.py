from __future__ import annotations

from django.apps import AppConfig


class NetraConfig(AppConfig):
    """What belongs to a deployment as a whole: its checks, and the command `ready`."""

    name = "netra"
    verbose_name = "Netra"

    def ready(self) -> None:
        from netra import checks  # noqa: F401, PLC0415 - registers the system checks
