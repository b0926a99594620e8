"""Approvals in the chat page, against the real server: what a person sees, whoever answers, wherever."""

import re

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.e2e.chat_page import ends, is_live, send, start_elsewhere, unfold
from tests.e2e.test_browser_page import axe_finds

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

NOTE_ANNOUNCEMENTS = """
    window.said = [];
    addEventListener("DOMContentLoaded", () => {
      const status = document.querySelector("#announcements");
      new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
    });
"""
DELIVERY = {"tool": "deliver", "arguments": {"to": "bob", "copies": 2}}


def card(page: Page, name: str = "Approval of deliver") -> Locator:
    form = page.get_by_role("form", name=name)
    expect(form).to_contain_text("Your approval is needed")
    return form


def tool_result(turn: Locator) -> Locator:
    """What the run's one tool call has returned, opened."""
    unfold(turn)
    turn.locator("details.tool > summary").click()
    return turn.locator(".tool-body")


def test_an_approval_is_given_from_a_second_tab_with_other_arguments(page: Page, context: BrowserContext):
    turn = start_elsewhere(page, [DELIVERY, {"stream": "Delivered."}])
    expect(card(page)).to_contain_text("May I call deliver?")
    other = context.new_page()
    other.goto(page.url)
    form = card(other)

    form.get_by_label("to", exact=True).fill("eve")
    form.get_by_label("copies").fill("many")
    form.get_by_role("button", name="Approve").click()
    expect(form).to_contain_text("copies: this must be a number.")
    expect(form.get_by_label("copies")).to_be_focused()

    form.get_by_label("copies").fill("2.5")
    form.get_by_role("button", name="Approve").click()
    expect(form.get_by_role("alert")).to_contain_text("deliver does not take these arguments: Expected `int`")
    expect(form.get_by_label("copies")).to_be_focused()
    expect(card(page)).to_be_visible()

    form.get_by_label("copies").fill("3")
    form.get_by_role("button", name="Approve").click()

    for each, words in ((page, "Approved elsewhere."), (other, "You approved this.")):
        ends(each.locator(".turn"), "Completed in")
        expect(each.get_by_role("form", name="Approval of deliver")).to_have_count(0)
        unfold(each.locator(".turn"))
        expect(each.locator(".step-approval")).to_contain_text(words)
        expect(each.locator(".step-approval")).to_contain_text('"to": "eve"')
        unfold(each.locator(".turn"))
    expect(tool_result(turn)).to_contain_text("3 for eve")


def test_an_approval_needs_no_mouse(page: Page):
    turn = start_elsewhere(page, [DELIVERY, {"sleep": 60}])
    form = card(page)
    expect(page.get_by_role("status")).to_have_text(re.compile("^scripted needs your approval: May I call deliver"))
    page.get_by_label("Message", exact=True).focus()

    for name in ("Reject", "Approve"):
        while not form.get_by_role("button", name=name).evaluate("each => each === document.activeElement"):
            page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(form.get_by_label("Comment (optional)")).to_be_focused()
    page.keyboard.type("Go ahead")
    page.keyboard.press("Enter")  # which approves nothing
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    expect(form.get_by_label("copies")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    expect(form).to_have_attribute("data-state", "waiting")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(form.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Space")

    expect(turn.locator(".step-approval")).to_contain_text("You approved this.")
    expect(turn.locator(".step-approval")).to_contain_text('"copies": 5')
    expect(turn.get_by_role("region", name="Run of scripted")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("scripted: approved.")
    turn.get_by_role("button", name="Cancel").click()
    ends(turn, "Cancelled")


def test_after_a_reload_the_approval_is_as_it_was(page: Page):
    turn = start_elsewhere(page, [{"tool": "deliver", "arguments": {"to": "bob\nand eve"}, "catch": True}])
    form = card(page)
    form.get_by_label("to", exact=True).fill("eve\nand bob")
    form.get_by_label("Comment (optional)").fill("Rather not")

    page.reload()

    expect(form.get_by_label("to", exact=True)).to_have_value("eve\nand bob")
    expect(form.get_by_label("Comment (optional)")).to_have_value("Rather not")
    form.get_by_role("button", name="Reject").click()
    ends(turn, "Completed in")
    page.add_init_script(NOTE_ANNOUNCEMENTS)
    page.reload()
    ends(turn, "Completed in")
    unfold(turn)
    expect(turn.locator(".step-approval")).to_contain_text("Rejected.")
    assert [words for words in page.evaluate("said") if "needs your approval" in words] == []  # that is no news
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.includes(':approval:'))") == []


def test_time_runs_out(page: Page):
    turn = start_elsewhere(
        page, [{"approval": "Is anybody there?", "timeout": 3, "catch": True}, {"stream": "Nobody."}]
    )
    form = card(page, "Approval: Is anybody there?")
    expect(form).to_contain_text(re.compile(r"expires in \d s"))

    ends(turn, "Completed in")

    expect(form).to_have_count(0)
    unfold(turn)
    expect(turn.locator(".step-approval")).to_contain_text("It expired without an answer.")


def test_a_child_run_asks_inside_its_parent(page: Page):
    script = [{"approval": "May the child?", "arguments": {"sure": False, "names": ["a"]}}, {"stream": "I did."}]
    turn = start_elsewhere(page, [{"child": "scripted", "params": {"script": script}}, {"stream": "All done."}])
    nested = turn.locator(".nested")
    form = nested.get_by_role("form", name="Approval: May the child?")
    expect(form.get_by_label("names")).to_have_value('["a"]')
    expect(nested.locator(".status")).to_have_text("Waiting for your approval")

    form.get_by_label("sure").check()
    form.get_by_label("names").fill('{"a": 1}')
    form.get_by_role("button", name="Approve").click()
    expect(form).to_contain_text("names: this must be a list in [ ].")
    assert axe_finds(page) == []
    form.get_by_label("names").fill('["b"')
    form.get_by_role("button", name="Approve").click()
    expect(form).to_contain_text("names: this is not JSON.")
    form.get_by_label("names").fill('["b"]')
    form.get_by_role("button", name="Approve").click()

    ends(nested, "Completed in")
    unfold(nested)
    expect(nested.get_by_text('approved: {"names": ["b"], "sure": true}')).to_be_visible()
    expect(turn.get_by_text("All done.")).to_be_visible()


def test_an_answer_given_offline_is_sent_when_the_connection_is_back(page: Page, context: BrowserContext):
    turn = start_elsewhere(page, [{"approval": "Shall I?"}, {"stream": "I did."}])
    form = card(page, "Approval: Shall I?")
    context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Offline since")

    form.get_by_role("button", name="Approve").click()

    expect(form).to_contain_text("Your answer will be sent when the connection is back")
    expect(form.get_by_role("button", name="Reject")).to_be_disabled()
    context.set_offline(False)
    is_live(page)
    ends(turn, "Completed in")
    unfold(turn)
    expect(turn.locator(".step-approval")).to_contain_text("You approved this.")


def test_who_writes_meanwhile_keeps_the_focus_and_the_card_stays_when_steps_are_folded(page: Page):
    turn = start_elsewhere(page, [{"sleep": 1}, {"approval": "Shall I?"}])
    page.get_by_label("Message", exact=True).fill("Half a sen")
    form = card(page, "Approval: Shall I?")

    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    unfold(turn)
    expect(form.get_by_role("button", name="Approve")).to_be_visible()
    turn.get_by_role("button", name="Cancel").click()
    ends(turn, "Cancelled")
    expect(form).to_have_count(0)
    send(page, "Something else", "scripted")
