"""Pictures of the console's first page and of its list of runs, of a Netra in which a worker has just died."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page

from netra.testing.server import RunningNetra

WIDE: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
LIST: Final = "/admin/agents/agentexecution/"
POSES: Final = (
    ("dashboard", "/admin/", WIDE, "light"),
    ("dashboard_dark", "/admin/", WIDE, "dark"),
    ("dashboard_phone", "/admin/", PHONE, "light"),
    ("list", f"{LIST}?agent_completed=lacking", WIDE, "light"),
    ("list_dark", f"{LIST}?agent_completed=lacking", WIDE, "dark"),
    ("list_phone", f"{LIST}?reason=frozen", PHONE, "light"),
)


def photograph(browser: Browser, shoot: Callable[[Page, str], None]) -> None:
    """Executes nothing, so that what is stuck stays stuck; leases last longer than it takes to look."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningNetra(
            Path(folder), NETRA_RUNS_AGENTS="0", NETRA_LEASE_RENEW_SECONDS="10", NETRA_LEASE_SECONDS="31"
        ) as netra,
    ):
        netra.manage("generate_runs", "--runs", "4000", "--live", "60", "--days", "0.3")
        netra.manage("shell", "-c", "from django.contrib.auth.models import User; User.objects.create_superuser('op')")
        context = browser.new_context()
        page = context.new_page()
        page.goto(netra.login_url("op"))
        page.wait_for_url(f"{netra.url}/")
        state = context.storage_state()
        stage = Path(__file__).with_name("stage.py").read_text()
        for name, path, size, scheme in POSES:
            netra.manage("shell", "-c", stage)
            context = browser.new_context(
                viewport=size,  # type: ignore[arg-type]
                color_scheme=scheme,  # type: ignore[arg-type]
                storage_state=state,
                locale="en-GB",
            )
            page = context.new_page()
            page.goto(netra.url + path)
            shoot(page, f"console/{name}")
            context.close()
