"""What tests do on the chat page, and what they see there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, Page, expect

EVENTUALLY_MS = 30_000
START = """async ({ agent, message, params, threadId }) => {
  const { NetraClient } = await import("/static/notifications/netra-client.js");
  const client = new NetraClient().open();
  const accepted = await client.startAgent({ agent, message, params, threadId });
  client.close();
  return accepted;
}"""


def is_live(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Live", timeout=EVENTUALLY_MS)


def choose_agent(page: Page, name: str) -> None:
    button = page.get_by_role("button", name="Agent:")
    if button.inner_text().strip() != name:
        button.click()
        page.get_by_role("radio", name=name).click()
        expect(page.locator("#agent-list")).to_be_hidden()


def send(page: Page, message: str, agent: str = "analyst") -> Locator:
    """Writes a message and sends it; returns its turn."""
    choose_agent(page, agent)
    turns = page.locator(".turns > .turn")
    count = turns.count()
    field = page.get_by_label("Message", exact=True)
    field.fill(message)
    field.press("Enter")
    expect(turns).to_have_count(count + 1)
    return turns.last


def start_elsewhere(
    page: Page, script: Sequence[object], message: str = "From elsewhere", *, restartable: bool = False
) -> Locator:
    """Starts the scripted agent as another tab of the same user would, and opens its thread from the side bar."""
    params = {"script": script, "restartable": restartable}
    accepted = page.evaluate(START, {"agent": "scripted", "message": message, "params": params})
    page.locator(f'[data-thread="{accepted["thread_id"]}"] a').click()
    return turn_of(page, accepted["run_id"])


def start_here(page: Page, script: Sequence[object], message: str = "Once more") -> Locator:
    """The same, in the thread that the page shows."""
    thread_id = page.url.rpartition("/")[2]
    wanted = {"agent": "scripted", "message": message, "params": {"script": script}, "threadId": thread_id}
    return turn_of(page, page.evaluate(START, wanted)["run_id"])


def turn_of(page: Page, run_id: str) -> Locator:
    return page.locator(f'[data-run="{run_id}"]')


def ends(turn: Locator, words: str) -> None:
    expect(turn.locator(".status").first).to_contain_text(words, timeout=EVENTUALLY_MS)


def unfold(turn: Locator) -> None:
    """Opens the steps of a run that has answered."""
    turn.locator(".activity > summary").first.click()


def complaints(page: Page) -> list[str]:
    """Grows by what the browser complains of on this page."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def eventually(page: Page, condition: Callable[[], bool]) -> None:
    """Looks until it holds: for what `expect` has no words for."""
    deadline = time.monotonic() + EVENTUALLY_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        page.wait_for_timeout(50)
