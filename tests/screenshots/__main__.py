"""Takes the pictures in docs/screenshots, of a server of its own: `make screenshots`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from netra.testing.server import ROOT, RunningNetra
from tests.e2e.chat_page import EVENTUALLY_MS, START, choose_agent, ends, is_live, send, unfold
from tests.e2e.chromium import launched
from tests.screenshots import console
from tests.screenshots.overview import photograph
from tests.screenshots.png import shrink

FOLDER = ROOT / "docs" / "screenshots"
MOST_BYTES = 100_000
DESKTOP = {"width": 1080, "height": 700}
PHONE = {"width": 390, "height": 780}
EARLIER = ("Outliers in the sensor log", "Churn by plan, last quarter", "Refunds per week since May", "Who buys twice?")
SALES = """month,region,product,revenue
2026-01,North,Basic,1200
2026-01,South,Pro,2300
2026-02,North,Pro,1900
2026-02,South,Basic,800
2026-03,North,Basic,1600
2026-03,South,Pro,3100
2026-04,East,Pro,2100
2026-04,West,Basic,1300
2026-05,East,Basic,900
2026-05,South,Pro,2700
"""


def shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)  # for what still moves
    path = FOLDER / f"{name}.png"
    size = path.write_bytes(shrink(page.screenshot()))
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} has more than {MOST_BYTES:,} bytes.")


def ask_analyst(page: Page) -> None:
    page.locator("#file").set_input_files({"name": "sales.csv", "mimeType": "text/csv", "buffer": SALES.encode()})
    turn = send(page, "What is the revenue by region?", "analyst")
    ends(turn, "Completed in")
    expect(turn.locator("svg.chart")).to_be_visible()


def open_answer(page: Page) -> None:
    """The thread of the answer that `completed` got."""
    threads = page.get_by_role("link", name="What is the revenue by region?")
    if page.viewport_size == PHONE:
        page.get_by_role("button", name="Threads", exact=True).click()
    threads.click()
    ends(page.locator(".turn"), "Completed in")
    expect(page.locator("svg.chart")).to_be_visible()


def scroll_to(page: Page, selector: str, top: int) -> None:
    page.locator(selector).first.evaluate(
        "(element, top) => scrollBy({ top: element.getBoundingClientRect().top - top, behavior: 'instant' })", top
    )


def empty(page: Page) -> None:
    choose_agent(page, "analyst")
    shoot(page, "empty")


def completed(page: Page) -> None:
    ask_analyst(page)
    scroll_to(page, ".turn .answer", 130)
    shoot(page, "completed")


def tool(page: Page) -> None:
    open_answer(page)
    turn = page.locator(".turn").last
    unfold(turn)
    turn.locator(".tool", has_text="group_by").locator("> summary").click()
    turn.locator(".tool-body").get_by_role("button", name="Chart").first.click()
    scroll_to(page, ".tool-body", 120)
    shoot(page, "tool")


def running(page: Page) -> None:
    turn = send(page, "Who can send us 15,000 screws, M6 × 20, by December?", "buyer")
    expect(turn.locator(".tool[data-status=running]")).to_contain_text("Tanaka")
    page.wait_for_timeout(3_000)
    shoot(page, "running")
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Offline since", timeout=EVENTUALLY_MS)
    send(page, "And washers to go with them?", "buyer")
    shoot(page, "offline")
    page.context.set_offline(False)
    is_live(page)
    for cancel in page.get_by_role("button", name="Cancel").all():
        cancel.click()


def failed(page: Page) -> None:
    ends(send(page, "Which product sells best?", "analyst"), "Failed after")
    shoot(page, "failed")


def phone(page: Page) -> None:
    open_answer(page)
    scroll_to(page, ".turn .answer", 110)
    shoot(page, "phone")


def dark(page: Page) -> None:
    open_answer(page)
    scroll_to(page, ".turn .answer", 130)
    shoot(page, "dark")


def take(browser: Browser, netra: RunningNetra, state: object, pose: Callable[[Page], None]) -> None:
    context = browser.new_context(
        viewport=PHONE if pose is phone else DESKTOP,  # type: ignore[arg-type]
        color_scheme="dark" if pose is dark else "light",
        storage_state=state,  # type: ignore[arg-type]
        locale="en-GB",
    )
    page = context.new_page()
    page.goto(netra.url)
    is_live(page)
    pose(page)
    context.close()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        launched(playwright) as browser,
        RunningNetra(Path(folder), NETRA_APPS="tests.screenshots", NETRA_TEST_AGENTS="0") as netra,
    ):
        context = browser.new_context()
        page = context.new_page()
        page.goto(netra.login_url())
        is_live(page)
        for title in reversed(EARLIER):
            page.evaluate(START, {"agent": "analyst", "message": title})
        for pose in (empty, completed, failed, running, tool, phone, dark):
            take(browser, netra, context.storage_state(), pose)
        (FOLDER / "console").mkdir(exist_ok=True)
        photograph(browser, shoot)
        console.take(browser, netra, context.storage_state(), shoot)


main()
