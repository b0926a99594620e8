"""What a person does and sees in the chat, in Chromium, against a real server."""

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from netra.testing.server import RunningNetra
from tests.e2e.chat_page import choose_agent, ends, is_live, send, start_elsewhere, start_here, unfold

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

TABLE = "region,revenue\nNorth,120\nSouth,80\nNorth,30\n"
PASTE = """(text) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
  document.querySelector("#message").dispatchEvent(event);
}"""
DROP = """(text) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], "dropped.csv", { type: "text/csv" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def test_a_question_about_an_attached_table_is_answered_in_words_and_as_a_chart(page: Page):
    page.locator("#file").set_input_files({"name": "sales.csv", "mimeType": "text/csv", "buffer": TABLE.encode()})
    expect(page.locator("#attachment")).to_contain_text("sales.csv")

    turn = send(page, "What is the revenue by region?")

    expect(turn.locator(".message")).to_have_text("What is the revenue by region?")
    expect(turn.locator(".message-attachment")).to_have_text("sales.csv")
    ends(turn, "Completed in")
    expect(turn.locator(".answer table").first).to_contain_text("150")
    expect(turn.get_by_role("img", name="North 150, South 80")).to_be_visible()


@pytest.mark.parametrize(("how", "name"), [(PASTE, "pasted table.csv"), (DROP, "dropped.csv")], ids=["paste", "drop"])
def test_a_table_is_pasted_or_dropped_and_can_be_removed(page: Page, how: str, name: str):
    page.evaluate(how, TABLE)

    expect(page.locator("#attachment")).to_contain_text(name)
    expect(page.locator("#attachment")).to_contain_text("4 lines")
    page.get_by_role("button", name="Remove the table").click()
    expect(page.locator("#attachment")).to_be_hidden()


def test_a_run_unfolds_thought_tool_call_and_streamed_answer(page: Page):
    script = [
        {"think": "Looking at it"},
        {"tool": "echo", "arguments": {"city": "Oslo"}},
        {"sleep": 2},
        {"stream": "The **answer** is 42.", "chunks": 5},
    ]

    turn = start_elsewhere(page, script)

    expect(turn.locator(".message")).to_have_text("From elsewhere")
    expect(turn.get_by_text("Looking at it")).to_be_visible()
    expect(turn.locator(".tool")).to_contain_text("done")
    expect(turn.locator(".heard")).to_have_text(re.compile("active now|last activity . s ago"))
    ends(turn, "Completed in")
    expect(turn.locator(".answer strong")).to_have_text("answer")
    assert turn.inner_text().count("42") == 1
    expect(turn.get_by_text("Looking at it")).to_be_hidden()
    unfold(turn)
    expect(turn.get_by_text("Looking at it")).to_be_visible()
    expect(turn.locator(".tool-body")).to_have_count(0)
    turn.locator(".tool > summary").click()
    expect(turn.locator(".tool-body")).to_contain_text("Oslo")


def test_a_tabular_result_is_a_table_with_a_chart(page: Page):
    rows = [{"day": f"2026-01-0{day}", "sold": day * 10} for day in range(1, 6)]

    turn = start_elsewhere(page, [{"return": {"by_day": rows}}])

    ends(turn, "Completed in")
    expect(turn.get_by_role("row", name="2026-01-03 30")).to_be_visible()
    turn.get_by_role("button", name="Chart").click()
    expect(turn.get_by_role("img", name="sold: 2026-01-01 10, 2026-01-02 20")).to_be_visible()
    turn.get_by_text("As JSON").click()
    expect(turn.locator("pre")).to_contain_text('"sold": 10')


def test_a_failed_run_says_so_and_can_be_tried_again(page: Page):
    turn = send(page, "No script here", agent="scripted")
    ends(turn, "Failed after")
    expect(turn.locator(".error-message")).to_contain_text("Put a list of steps into params.script.")

    turn.get_by_role("button", name="Try again").click()

    expect(page.locator(".turn")).to_have_count(2)
    ends(page.locator(".turn").nth(1), "Failed after")
    expect(page.locator(".turn").nth(1).locator(".message")).to_have_text("No script here")


def test_a_run_can_be_cancelled(page: Page):
    turn = start_elsewhere(page, [{"think": "This takes long"}, {"sleep": 60}])
    expect(turn).to_contain_text("This takes long")

    turn.get_by_role("button", name="Cancel").click()

    ends(turn, "Cancelled after")
    expect(turn.get_by_role("button", name="Cancel")).to_be_hidden()


def test_an_answer_can_be_copied(page: Page, context: BrowserContext):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    turn = start_elsewhere(page, [{"stream": "Some *Markdown*."}])
    ends(turn, "Completed in")

    turn.get_by_role("button", name="Copy").click()

    expect(turn.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "Some *Markdown*."


def test_threads_have_addresses_and_the_browser_goes_back_and_forth(page: Page):
    ends(start_elsewhere(page, [], "First thread"), "Completed in")
    first = page.url
    ends(start_elsewhere(page, [], "Second thread"), "Completed in")
    expect(page.get_by_role("heading", name="Second thread")).to_be_visible()

    page.go_back()

    expect(page).to_have_url(first)
    expect(page.get_by_role("heading", name="First thread")).to_be_visible()
    expect(page.locator(".message")).to_have_text("First thread")
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    page.goto(first)
    expect(page.locator(".message")).to_have_text("First thread")
    ends(page.locator(".turn"), "Completed in")


def test_threads_are_searched_renamed_and_deleted_in_all_tabs(page: Page, context: BrowserContext):
    ends(start_elsewhere(page, [], "Plans for the aardvark"), "Completed in")
    other = context.new_page()
    other.goto(page.url)
    is_live(other)

    page.get_by_role("button", name="Rename Plans for the aardvark").click()
    page.get_by_label("Title of the thread").fill("Plans for the okapi")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Plans for the okapi")).to_be_visible()
    expect(other.get_by_role("link", name="Plans for the okapi")).to_be_visible()
    page.get_by_label("Search threads").fill("okapi")
    expect(page.locator(".thread")).to_have_count(1)
    page.get_by_role("button", name="Delete Plans for the okapi").click()
    expect(page.get_by_role("dialog")).to_contain_text("gone for good")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#no-threads")).to_have_text("No thread has this in its title.")
    for each in (page, other):
        expect(each.get_by_role("heading", name="What would you like to know?")).to_be_visible()
        expect(each.get_by_role("link", name="okapi")).to_have_count(0)


def test_a_thread_with_a_live_run_is_not_deleted_and_the_dialog_says_why(page: Page):
    turn = start_elsewhere(page, [{"sleep": 60}], "Busy thread")
    page.get_by_role("button", name="Delete Busy thread").click()

    page.get_by_role("button", name="Delete", exact=True).click()

    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("has not ended")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    turn.get_by_role("button", name="Cancel").click()
    ends(turn, "Cancelled after")


def test_the_side_bar_shows_what_goes_on_elsewhere(page: Page):
    elsewhere = start_elsewhere(page, [{"sleep": 2}], "Slow one")
    thread = page.locator(".thread", has_text="Slow one").first
    expect(thread).to_contain_text("running")

    page.get_by_role("button", name="New chat").click()

    expect(elsewhere).to_have_count(0)
    expect(thread).to_contain_text("new")
    thread.get_by_role("link").click()
    expect(thread).not_to_contain_text("new")


def test_a_long_thread_shows_its_latest_runs_first(page: Page):
    start_elsewhere(page, [], "Run 1")
    for number in range(2, 13):
        start_here(page, [], f"Run {number}")
    expect(page.locator(".turn")).to_have_count(12)

    page.reload()

    expect(page.locator(".turn")).to_have_count(10)
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator(".turn")).to_have_count(12)
    expect(page.locator(".message").first).to_have_text("Run 1")


def test_the_keyboard_is_enough(page: Page):
    message = page.get_by_label("Message", exact=True)
    expect(message).to_be_focused()

    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second")
    assert message.input_value() == "first\nsecond"
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Agent:")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name=re.compile("^analyst"))).to_be_focused()
    for _ in ("assistant", "scripted"):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Agent: scripted")).to_be_visible()
    expect(message).to_be_focused()
    page.keyboard.press("Control+Enter")

    expect(page.locator(".message")).to_have_text("first\nsecond")
    expect(message).to_be_focused()
    ends(page.locator(".turn"), "Failed after")
    retry = page.get_by_role("button", name="Try again")
    page.keyboard.press("Shift+Tab")
    expect(retry).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".turn")).to_have_count(2)


def test_threads_are_managed_with_the_keyboard(page: Page):
    for name in ("Keyboard one", "Keyboard two"):
        ends(start_elsewhere(page, [], name), "Completed in")
    link = page.get_by_role("link", name="Keyboard two")
    link.focus()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Rename Keyboard two!")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(link).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("link", name="Keyboard two")).to_have_count(0)
    expect(page.get_by_role("link", name="Keyboard one")).to_be_focused()


def test_a_message_that_is_too_long_is_not_sent(page: Page):
    page.get_by_label("Message", exact=True).fill("x" * 60_001)

    expect(page.get_by_role("alert")).to_contain_text("at most 60.0 kB")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()


def test_what_is_half_written_survives_a_reload(page: Page):
    choose_agent(page, "scripted")
    page.get_by_label("Message", exact=True).fill("Half a thou")
    page.evaluate(DROP, TABLE)
    expect(page.locator("#attachment")).to_be_visible()

    page.reload()

    expect(page.get_by_label("Message", exact=True)).to_have_value("Half a thou")
    expect(page.locator("#attachment")).to_contain_text("dropped.csv")
    expect(page.get_by_role("button", name="Agent: scripted")).to_be_visible()


def test_on_a_phone_the_threads_are_behind_a_button(page: Page):
    ends(start_elsewhere(page, [], "Seen on a phone"), "Completed in")
    page.get_by_role("button", name="New chat").click()
    page.set_viewport_size({"width": 375, "height": 720})
    expect(page.get_by_role("link", name="Seen on a phone")).to_be_hidden()

    page.get_by_role("button", name="Threads", exact=True).click()
    page.get_by_role("link", name="Seen on a phone").click()

    expect(page.locator(".message")).to_have_text("Seen on a phone")
    expect(page.get_by_role("link", name="Seen on a phone")).to_be_hidden()
    for close in (lambda: page.keyboard.press("Escape"), page.get_by_role("button", name="Close the threads").click):
        page.get_by_role("button", name="Threads", exact=True).click()
        expect(page.get_by_role("link", name="Seen on a phone")).to_be_visible()
        close()
        expect(page.get_by_role("button", name="Threads", exact=True)).to_be_focused()


def test_an_operator_cancels_a_run_in_the_admin(page: Page, context: BrowserContext, netra: RunningNetra):
    turn = start_elsewhere(page, [{"stream": "So far."}, {"sleep": 30}])
    expect(turn).to_contain_text("So far.")
    admin = context.new_page()
    admin.goto(f"{netra.url}/admin/agents/agentexecution/?agent_completed=lacking&q={turn.get_attribute('data-run')}")

    admin.locator("tbody .action-select").check()
    admin.get_by_label("Action:").select_option("cancel")
    admin.get_by_role("button", name="Go").click()
    admin.get_by_label("Reason").fill("Its user has asked for it by phone.")
    admin.get_by_role("button", name="Cancel").click()

    ends(turn, "Cancelled")
    expect(turn).to_contain_text("So far.")


def test_a_log_in_link_works_once(browser: Browser, netra: RunningNetra):
    link = netra.login_url()
    first, second = browser.new_context().new_page(), browser.new_context().new_page()

    first.goto(link)
    second.goto(link)

    is_live(first)
    expect(second.get_by_role("heading")).to_have_text("This link is no longer valid")
    for each in (first, second):
        each.context.close()
