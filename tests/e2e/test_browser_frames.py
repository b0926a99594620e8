"""What the page makes of frames as a test words them: approvals, and runs started by runs. HTTP is real."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from netra.testing.server import RunningNetra
from tests.e2e.chat_page import ends, is_live, send

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

PARENT, CHILD, THREAD = "run_parent", "run_qchild", "thread_one"


class Wire:
    """The server's end of the page's socket: what the page sent, and what it is told."""

    def __init__(self, page: Page) -> None:
        self.sent: list[dict[str, Any]] = []
        self._seqs: dict[str, int] = {}
        self._socket: WebSocketRoute | None = None
        page.route_web_socket("**/ws/", self._open)

    def _open(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(self._heard)
        self.say(type="connection_established", protocol=1, connection_id="conn_1", user_id="1",
                 server_time=now(), heartbeat_s=20, runs=[])  # fmt: skip

    def _heard(self, text: str | bytes) -> None:
        frame = json.loads(text)
        self.sent.append(frame)
        if frame["type"] == "start_agent":
            accepted = {"run_id": PARENT, "thread_id": THREAD, "duplicate": False, "queue_position": 0}
            self.say(type="run_accepted", request_id=frame["request_id"], **accepted)

    def say(self, **frame: Any) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps(frame))

    def event(self, type_: str, run_id: str = PARENT, **data: Any) -> None:
        self._seqs[run_id] = self._seqs.get(run_id, 0) + 1
        above = {} if run_id == PARENT else {"parent_run_id": PARENT}
        self.say(
            type=type_, run_id=run_id, thread_id=THREAD, agent_name="analyst" if run_id == PARENT else "assistant",
            seq=self._seqs[run_id], timestamp=now(), data=data, **above,
        )  # fmt: skip

    def start(self, run_id: str = PARENT, message: str = "Do it") -> None:
        self.event("agent_started", run_id, message=message, attempt=1, timeout=60, tier="free", streaming=True,
                   correlation_id="corr_1")  # fmt: skip

    def complete(self, run_id: str = PARENT, output: str = "Done.") -> None:
        self.event("agent_completed", run_id, status="completed", error=None, execution_time_ms=1500,
                   result={"success": True, "output": output, "warnings": []})  # fmt: skip

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        return [frame for frame in self.sent if frame["type"] == type_]


def now(later: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later)).isoformat()


@pytest.fixture
def wired(page: Page, netra: RunningNetra) -> Wire:
    wire = Wire(page)
    page.reload()
    is_live(page)
    return wire


@pytest.fixture
def ask_approval(page: Page, wired: Wire) -> Callable[[], None]:
    def ask() -> None:
        send(page, "Do it")
        wired.start()
        wired.event("approval_requested", approval_id="approval_1", reason="Shall I mail it?", tool_name="send_mail",
                    arguments={"to": "ada@example.org", "copies": 2}, expires_at=now(300))  # fmt: skip

    return ask


def test_an_approval_shows_its_arguments_and_its_time(page: Page, wired: Wire, ask_approval: Callable[[], None]):
    ask_approval()

    form = page.get_by_role("form", name="Approval of send_mail")
    expect(form).to_contain_text("Shall I mail it?")
    expect(form).to_contain_text("expires in 4 min")
    expect(page.get_by_text("Waiting for your approval")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("analyst needs your approval: Shall I mail it?")
    form.get_by_role("button", name="Approve").click()

    expect(form.get_by_role("button", name="Approve")).to_be_disabled()
    (frame,) = wired.of_type("resolve_approval")
    assert frame == {
        "type": "resolve_approval",
        "run_id": PARENT,
        "approval_id": "approval_1",
        "decision": "approve",
    }


def test_arguments_are_edited_before_they_are_approved(page: Page, wired: Wire, ask_approval: Callable[[], None]):
    ask_approval()
    form = page.get_by_role("form", name="Approval of send_mail")

    form.get_by_label("to").fill("bob@example.org")
    form.get_by_label("copies").fill("many")
    form.get_by_role("button", name="Approve").click()
    expect(form).to_contain_text("copies: this must be a number.")
    expect(form.get_by_label("copies")).to_be_focused()
    form.get_by_label("copies").fill("3")
    form.get_by_role("button", name="Approve").click()

    expect(form.get_by_role("button", name="Approve")).to_be_disabled()
    (frame,) = wired.of_type("resolve_approval")
    assert frame["arguments"] == {"to": "bob@example.org", "copies": 3}


def test_a_decision_that_fails_can_be_made_again(page: Page, wired: Wire, ask_approval: Callable[[], None]):
    ask_approval()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("button", name="Reject")).to_be_disabled()

    wired.say(type="error", code="internal", message="That went wrong.", run_id=PARENT, approval_id="approval_1")

    expect(page.get_by_role("button", name="Reject")).to_be_enabled()
    expect(page.get_by_role("form").get_by_role("alert")).to_have_text("That went wrong.")


def test_whoever_comes_too_late_is_told(page: Page, wired: Wire, ask_approval: Callable[[], None]):
    ask_approval()
    page.get_by_role("button", name="Approve").click()

    ids = {"run_id": PARENT, "approval_id": "approval_1"}
    wired.say(type="error", code="approval_closed", message="This approval has been decided already.", **ids)

    expect(page.get_by_role("form").get_by_role("alert")).to_have_text("This approval has been decided already.")
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    wired.event("approval_resolved", approval_id="approval_1", decision="approved", arguments=None)
    expect(page.get_by_text("Approved elsewhere.")).to_be_visible()


def test_each_of_two_approvals_has_its_own_answer(page: Page, wired: Wire, ask_approval: Callable[[], None]):
    ask_approval()
    wired.event("approval_requested", approval_id="approval_2", reason="And print it?", tool_name=None, arguments=None,
                expires_at=now(300))  # fmt: skip
    first, second = (
        page.get_by_role("form", name=name) for name in ("Approval of send_mail", "Approval: And print it?")
    )
    second.get_by_label("Comment (optional)").fill("Save paper.")
    second.get_by_role("button", name="Reject").click()
    first.get_by_role("button", name="Approve").click()

    wired.say(type="error", code="internal", message="That went wrong.", run_id=PARENT, approval_id="approval_1")
    expect(first.get_by_role("alert")).to_have_text("That went wrong.")
    expect(second.get_by_role("button", name="Reject")).to_be_disabled()
    wired.event("approval_resolved", approval_id="approval_2", decision="rejected", arguments=None)

    expect(second).to_have_count(0)
    expect(page.get_by_text("You rejected this.")).to_be_visible()
    expect(first.get_by_role("button", name="Approve")).to_be_enabled()
    expect(page.locator(".status")).to_have_text("Waiting for your approval")
    (frame,) = [frame for frame in wired.of_type("resolve_approval") if frame["approval_id"] == "approval_2"]
    assert (frame["decision"], frame["comment"]) == ("reject", "Save paper.")


def test_an_approval_that_is_told_again_after_a_recovery_is_the_same(
    page: Page, wired: Wire, ask_approval: Callable[[], None]
):
    ask_approval()
    form = page.get_by_role("form", name="Approval of send_mail")
    form.get_by_label("to").fill("bob@example.org")

    wired.event("run_recovered", attempt=2, reason="The worker went away.")
    wired.event("approval_requested", approval_id="approval_1", reason="Shall I mail it?", tool_name="send_mail",
                arguments={"to": "ada@example.org", "copies": 2}, expires_at=now(300))  # fmt: skip

    expect(page.get_by_text("Another worker took over (attempt 2)")).to_be_visible()
    expect(form).to_have_count(1)
    expect(form.get_by_label("to")).to_have_value("bob@example.org")
    wired.event("approval_resolved", approval_id="approval_1", decision="rejected", arguments=None)
    expect(form).to_have_count(0)


def test_arguments_that_are_too_large_to_be_shown_whole_are_approved_as_they_are(page: Page, wired: Wire):
    send(page, "Do it")
    wired.start()
    arguments = {"cut": True, "bytes": 300_000, "json_extract": '{"text": "xxxx'}
    wired.event("approval_requested", approval_id="approval_1", reason="Shall I?", tool_name="send_mail",
                arguments=arguments, expires_at=now(300))  # fmt: skip

    form = page.get_by_role("form", name="Approval of send_mail")
    expect(form.get_by_text("Arguments, too large to be changed here")).to_be_visible()
    expect(form.get_by_role("textbox")).to_have_count(1)
    form.get_by_role("button", name="Approve").click()

    expect(form.get_by_role("button", name="Approve")).to_be_disabled()
    (frame,) = wired.of_type("resolve_approval")
    assert "arguments" not in frame


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ("approved", "Approved elsewhere."),
        ("rejected", "Rejected elsewhere."),
        ("expired", "It expired without an answer."),
    ],
)
def test_a_decision_from_elsewhere_closes_the_approval(
    page: Page, wired: Wire, ask_approval: Callable[[], None], decision: str, words: str
):
    ask_approval()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()

    wired.event("approval_resolved", approval_id="approval_1", decision=decision, arguments={"to": "ada@example.org"})

    expect(page.get_by_text(words)).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.locator(".status")).to_have_text("Thinking")


def test_a_run_that_a_run_has_started_stands_inside_it(page: Page, wired: Wire):
    send(page, "Compare them")
    wired.start(message="Compare them")
    wired.event("agent_thinking", reasoning="Two can do this.", step_number=1)

    wired.start(CHILD, "Sum up the north")
    wired.event("agent_thinking", CHILD, reasoning="I am reading.", step_number=1)

    parent, child = page.locator(f'[data-run="{PARENT}"]'), page.locator(f'[data-run="{PARENT}"] [data-run="{CHILD}"]')
    expect(child.locator(".agent-name")).to_have_text("assistant")
    expect(child).to_contain_text("Sum up the north")
    expect(child).to_contain_text("I am reading.")
    expect(page.locator(".turns > .turn")).to_have_count(1)
    wired.complete(CHILD, "North: 12.")
    ends(child, "Completed in 1.5 s")
    expect(child).to_contain_text("North: 12.")
    wired.complete(PARENT, "All of it: 30.")
    ends(parent, "Completed in 1.5 s")
    expect(parent).to_contain_text("All of it: 30.")
    expect(page.get_by_role("status")).to_contain_text("analyst has answered")


def test_events_to_come_are_counted_while_the_page_catches_up(page: Page, wired: Wire):
    send(page, "Go")
    wired.start(message="Go")

    wired.say(type="head", runs={PARENT: 41})

    expect(page.locator("#connection")).to_have_text("Catching up, 40 events to go")
    (resume,) = wired.of_type("resume")
    for _ in range(39):
        wired.event("agent_thinking", reasoning="Hm.", step_number=1)
    expect(page.locator("#connection")).to_have_text("Catching up, 1 event to go")
    wired.complete()
    wired.say(type="caught_up", id=resume["id"], runs={PARENT: 41})
    is_live(page)
    ends(page.locator(".turn"), "Completed in")


def test_a_server_that_is_not_ready_gets_the_same_message_again(page: Page, wired: Wire):
    asked: list[str] = []

    def answer(text: str | bytes) -> None:
        frame = json.loads(text)
        if frame["type"] != "start_agent":
            return
        asked.append(frame["request_id"])
        if len(asked) == 1:
            not_ready = {"code": "not_ready", "message": "The database is away.", "retry_after": 0.5}
            wired.say(type="error", request_id=frame["request_id"], **not_ready)
        else:
            accepted = {"run_id": PARENT, "thread_id": THREAD, "duplicate": False, "queue_position": 3}
            wired.say(type="run_accepted", request_id=frame["request_id"], **accepted)

    wired._heard = answer  # type: ignore[method-assign]
    page.reload()
    is_live(page)

    turn = send(page, "Go")

    ends(turn, "Waiting, 3 runs before it")
    assert len(asked) == 2
    assert len(set(asked)) == 1
