"""The console's first page, as somebody on call opens it on a phone: of a real server, and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra
from tests.e2e.chat_page import EVENTUALLY_MS
from tests.e2e.test_browser_console import staff_link

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

WIDTH = 390


def test_it_tells_of_a_live_run_its_socket_and_the_parts_on_a_phone_without_a_script(
    browser: Browser, netra: RunningNetra, netra_chat: Chat
) -> None:
    run_id = netra_chat.start_run({"tool": "sleep", "arguments": {"seconds": 600}})["run_id"]
    context = browser.new_context(viewport={"width": WIDTH, "height": 844}, java_script_enabled=False)
    context.set_default_timeout(EVENTUALLY_MS)
    page = context.new_page()
    page.goto(staff_link(netra, "on-call", "view_agentexecution"))
    page.goto(f"{netra.url}/admin/")

    expect(page.locator(".netra-headline h2")).to_contain_text("wait")
    for part in ("database", "channel_layer", "runner"):
        expect(page.get_by_role("row", name=f"{part} ok")).to_be_visible()
    expect(page.locator(".netra-tile", has_text="sockets").locator("b")).not_to_have_text(
        "0"
    )  # it comes anew by itself
    boxes = [section.bounding_box() for section in page.locator("#netra-dashboard > *").all()]
    assert max(box["x"] + box["width"] for box in boxes if box is not None) <= WIDTH

    page.get_by_role("link", name="Runs that lack agent_completed").click()
    expect(page.get_by_role("link", name=run_id)).to_be_visible()
    context.close()
    netra_chat.ask(type="cancel_run", run_id=run_id)
    netra_chat.receive_until("agent_completed", run_id=run_id)
