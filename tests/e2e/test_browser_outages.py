"""The chat while the network, the server or the page itself goes away and comes back: what a person then sees."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from netra.testing.server import RunningNetra
from tests.e2e.chat_page import (
    EVENTUALLY_MS,
    START,
    choose_agent,
    ends,
    eventually,
    is_live,
    send,
    start_elsewhere,
    start_here,
    unfold,
)

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

SCROLL_TOP = "document.querySelector('[data-run]').getBoundingClientRect().top"


def goes_offline(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Offline since", timeout=EVENTUALLY_MS)


def comes_back(page: Page, context: BrowserContext) -> None:
    context.set_offline(False)
    is_live(page)


def test_offline_for_20_s_in_mid_run_loses_nothing(page: Page, context: BrowserContext):
    page.clock.install()
    script = [{"think": "Before it"}, {"sleep": 4}, {"think": "Meanwhile"}, {"sleep": 4}, {"think": "After it"}]
    turn = start_elsewhere(page, script)
    expect(turn.get_by_text("Before it")).to_be_visible()

    goes_offline(page, context)
    page.clock.run_for(20_000)  # of the page's time: all its attempts to come back fail
    expect(page.locator("#connection")).to_contain_text(re.compile(r"Offline since .+ · [2-9]\d s"))
    expect(turn.get_by_text("Meanwhile")).to_have_count(0)
    comes_back(page, context)

    expect(turn.get_by_text("Meanwhile")).to_be_visible()
    ends(turn, "Completed in")
    unfold(turn)
    words = ["Before it", "Meanwhile", "After it"]
    thoughts = turn.locator(".thought").all_inner_texts()
    assert [thought for thought in thoughts if thought in words] == words


def test_what_is_typed_offline_is_queued_and_sent_once_even_over_a_reload(page: Page, context: BrowserContext, netra):
    choose_agent(page, "scripted")
    goes_offline(page, context)
    expect(page.get_by_text("Offline: what you send is kept")).to_be_visible()

    for message in ("Typed offline", "And one more"):
        turn = send(page, message, "scripted")
        ends(turn, "Queued: it will be sent when the connection is back")
    # This page connects no more: it is the one after the reload that sends.
    page.evaluate("() => { window.WebSocket = class extends EventTarget { close() {} send() {} } }")
    context.set_offline(False)
    page.reload()

    for number, message in enumerate(("Typed offline", "And one more")):
        expect(page.locator(".message").nth(number)).to_have_text(message)
        ends(page.locator(".turn").nth(number), "Failed after")
    expect(page).to_have_url(re.compile("/threads/thread_"))
    rows = netra.rows(
        "SELECT thread_id FROM agents_agentexecution"
        " WHERE request LIKE '%Typed offline%' OR request LIKE '%And one more%'"
    )
    assert len(rows) == 2
    assert len({row["thread_id"] for row in rows}) == 1


def test_a_reload_that_began_before_the_first_message_was_accepted_comes_to_its_thread(page: Page):
    send(page, "The first of its thread", "scripted")
    expect(page).to_have_url(re.compile("/threads/thread_"))
    thread = page.url
    page.evaluate("history.replaceState(null, '', '/')")  # where the reload was going to

    page.reload()

    expect(page).to_have_url(thread)
    expect(page.get_by_text("The first of its thread").last).to_be_visible()
    page.get_by_role("button", name="New chat").click()
    page.reload()
    expect(page.get_by_role("heading", name="New chat")).to_be_visible()
    page.goto(thread)
    page.goto(page.url.partition("/threads/")[0])
    expect(page.get_by_role("heading", name="New chat")).to_be_visible()


def test_a_run_that_ended_while_away_is_simply_there(page: Page, context: BrowserContext):
    turn = start_elsewhere(page, [{"sleep": 1}, {"stream": "All there."}])
    assert context.browser is not None
    other = context.browser.new_context(storage_state=context.storage_state()).new_page()
    other.goto(page.url)

    goes_offline(page, context)
    ends(other.locator(".turn"), "Completed in")
    comes_back(page, context)

    ends(turn, "Completed in")
    expect(turn.locator(".answer")).to_have_text("All there.")
    other.context.close()


def test_a_second_tab_shows_the_same_live(page: Page, context: BrowserContext):
    start_elsewhere(page, [])
    other = context.new_page()
    other.goto(page.url)
    is_live(other)

    send(page, "Seen by both", "scripted")
    turn = start_here(other, [{"think": "Think of both"}, {"sleep": 2}, {"stream": "Both know."}])

    for each in (page, other):
        expect(each.get_by_text("Seen by both")).to_be_visible()
        expect(each.get_by_text("Think of both")).to_be_visible()
    for each in (page, other):
        ends(each.locator(".turn").last, "Completed in")
        expect(each.locator(".turn").last.locator(".answer")).to_have_text("Both know.")
    assert turn.count() == 1


def test_a_reload_in_mid_run_loses_nothing(page: Page):
    script = [{"think": "Before the reload"}, {"sleep": 3}, {"think": "After it"}, {"stream": "All there."}]
    turn = start_elsewhere(page, script)
    expect(turn).to_contain_text("Before the reload")

    page.reload()

    expect(turn).to_contain_text("Before the reload", timeout=EVENTUALLY_MS)
    expect(turn.locator(".message")).to_have_text("From elsewhere")
    ends(turn, "Completed in")
    expect(turn.locator(".answer")).to_have_text("All there.")


def test_trying_again_after_a_reload_sends_what_was_sent(page: Page, netra: RunningNetra):
    params = {"script": [{"raise": "boom"}], "token": "needle", "filename": "sales.csv"}
    accepted = page.evaluate(START, {"agent": "scripted", "message": "With a secret", "params": params})
    page.locator(f'[data-thread="{accepted["thread_id"]}"] a').click()
    ends(page.locator(".turn"), "Failed after")
    page.reload()

    page.get_by_role("button", name="Try again").click()

    turns = page.locator(".turns > .turn")
    expect(turns).to_have_count(2)
    ends(turns.last, "Failed after")
    expect(turns.last.get_by_text("sales.csv")).to_be_visible()
    mine = (
        "SELECT r.request FROM agents_agentexecution r JOIN agents_thread t ON t.id = r.thread_id WHERE t.thread_id = ?"
    )
    rows = netra.rows(mine, accepted["thread_id"])
    assert [json.loads(row["request"])["params"] for row in rows] == [params, params]
    assert "needle" not in page.evaluate("JSON.stringify({ ...sessionStorage })")
    assert "needle" not in page.content()


def test_a_reload_in_mid_run_keeps_the_place(page: Page):
    long = "\n\n".join(f"Paragraph {number}" for number in range(60))
    ends(start_elsewhere(page, [{"stream": long}]), "Completed in")
    start_here(page, [{"think": "Going on"}, {"sleep": 60}])
    expect(page.get_by_text("Going on")).to_be_visible()
    page.evaluate("scrollBy({ top: -900, behavior: 'instant' })")
    expect(page.get_by_role("button", name="Jump to the latest")).to_be_visible()
    before = page.evaluate(SCROLL_TOP)

    page.reload()

    expect(page.get_by_text("Going on")).to_have_count(1)
    expect(page.get_by_text("Paragraph 59")).to_have_count(1)
    eventually(page, lambda: abs(page.evaluate(SCROLL_TOP) - before) < 4)
    page.get_by_role("button", name="Jump to the latest").click()
    page.locator(".turn").last.get_by_role("button", name="Cancel").click()


def test_after_signing_out_elsewhere_the_page_says_so_for_good(browser: Browser, netra: RunningNetra):
    context = browser.new_context()
    page, other = context.new_page(), context.new_page()
    page.goto(netra.login_url())
    other.goto(netra.url)
    is_live(page)

    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()

    banner = page.get_by_role("alert").filter(has_text="Your session has ended.")
    expect(banner).to_be_visible(timeout=70_000)
    expect(page.locator("#connection")).to_have_text("Signed out")
    expect(banner.get_by_role("link", name="Sign in again")).to_have_attribute("href", re.compile("^/accounts/login/"))
    send(page, "Too late", "scripted")
    expect(banner).to_be_visible()
    context.close()


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[RunningNetra]:
    """A server of the test's own, to be killed."""
    with RunningNetra(
        tmp_path, NETRA_HEARTBEAT_SECONDS="2", NETRA_LEASE_SECONDS="2", NETRA_LEASE_RENEW_SECONDS="0.5"
    ) as netra:
        yield netra


def test_the_server_is_killed_and_restarted_in_mid_run(browser: Browser, frail: RunningNetra):
    context = browser.new_context()
    page = context.new_page()
    page.goto(frail.login_url())
    is_live(page)
    lost = start_elsewhere(page, [{"think": "Not to be done twice"}, {"sleep": 60}])
    expect(lost).to_contain_text("Not to be done twice")
    thread = page.url
    script = [{"think": "Can be done again"}, {"sleep": 3}, {"stream": "Done in the end."}]
    again = start_elsewhere(page, script, restartable=True)
    expect(again).to_contain_text("Can be done again")

    frail.kill()

    expect(page.locator("#connection")).to_contain_text("Offline since", timeout=EVENTUALLY_MS)
    frail.run_server()
    is_live(page)
    ends(again, "Completed in")
    expect(again.locator(".answer")).to_have_text("Done in the end.")
    unfold(again)
    expect(again.locator(".note")).to_contain_text("Another worker took over (attempt 2)")
    page.goto(thread)
    ends(lost, "Lost: its worker stopped")
    expect(lost.get_by_role("button", name="Try again")).to_be_visible()
    context.close()
