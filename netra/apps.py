from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class NetraConfig(AppConfig):
    """What belongs to a deployment as a whole: its checks, and the command `ready`."""

    name = "netra"
    verbose_name = "Netra"

    def ready(self) -> None:
        from netra import checks  # noqa: F401, PLC0415 - registers the system checks


class ConsoleConfig(AdminConfig):
    """Django's admin, with the operations console's first page."""

    default_site = "netra.console.site.Console"


class DaphneConfig(AppConfig):
    """daphne's `manage.py runserver`. Its own AppConfig would load the network of Twisted into every process."""

    name = "daphne"
