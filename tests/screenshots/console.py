"""The operations console, photographed while a run of the buyer waits for a supplier."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from netra.testing.server import RunningNetra
from tests.e2e.chat_page import EVENTUALLY_MS, START, is_live

DESKTOP = {"width": 1180, "height": 860}
PHONE = {"width": 390, "height": 780}
ASKED = "Who can send us 15,000 screws, M6 × 20, by December?"

Shoot = Callable[[Page, str], None]


def take(browser: Browser, netra: RunningNetra, state: object, shoot: Shoot) -> None:
    """The run in the light, in the dark and on a phone, with its user's chat open beside it; then its replay."""
    user = browser.new_context(storage_state=state)  # type: ignore[arg-type]
    chat = user.new_page()
    chat.goto(netra.url)
    is_live(chat)
    run_id = chat.evaluate(START, {"agent": "buyer", "message": ASKED})["run_id"]
    address = f"{netra.url}/admin/agents/agentexecution/?q={run_id}"
    for name, size, scheme in (("run", DESKTOP, "light"), ("run_dark", DESKTOP, "dark"), ("run_phone", PHONE, "light")):
        context = browser.new_context(viewport=size, color_scheme=scheme, storage_state=state, locale="en-GB")  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(address)
        page.get_by_role("link", name=run_id).click()
        expect(page.locator("#watching")).to_have_text("Live", timeout=EVENTUALLY_MS)
        expect(page.locator(".sockets li").first).to_be_visible(timeout=EVENTUALLY_MS)
        expect(page.locator(".why")).to_contain_text("No progress", timeout=EVENTUALLY_MS)
        shoot(page, f"console/{name}")
        if name == "run":
            page.get_by_role("link", name="Replay").click()
            expect(page.locator("#where")).to_contain_text("of 10", timeout=EVENTUALLY_MS)
            for _ in range(8):
                page.get_by_role("button", name="One event on").click()
            shoot(page, "console/replay")
        context.close()
    user.close()
