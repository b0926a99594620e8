"""The operations console in a browser, beside the chat of the user whose run is operated on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from netra.testing.postgresql import PostgresqlServer
from netra.testing.redis import RedisServer
from netra.testing.server import RunningNetra
from netra.testing.worker import RunningWorker
from tests.e2e.chat_page import EVENTUALLY_MS, START, complaints, ends, eventually, is_live, start_elsewhere, unfold

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

MAKE_STAFF = """
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
user = get_user_model().objects.create_user({name!r}, is_staff=True)
user.user_permissions.set(Permission.objects.filter(codename__in={codenames!r}))
"""
SAID = "Nobody else's business"

OpenPage = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[OpenPage]:
    """Opens a page, logged in by a one-time link, in a context of its own."""
    contexts: list[BrowserContext] = []

    def opened(link: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 900}))
        contexts[-1].set_default_timeout(EVENTUALLY_MS)
        page = contexts[-1].new_page()
        page.goto(link)
        return page

    yield opened
    for context in contexts:
        context.close()


def staff_link(netra: RunningNetra, name: str, *codenames: str) -> str:
    """The log-in link of somebody new who has these permissions."""
    netra.manage("shell", "--verbosity", "0", "--command", MAKE_STAFF.format(name=name, codenames=codenames))
    return netra.login_url(name)


def start(page: Page, script: Sequence[object], **params: Any) -> str:
    """Starts the scripted agent as the user of the page, and returns the run's id."""
    wanted = {"agent": "scripted", "message": SAID, "params": {"script": script, **params}}
    run_id: str = page.evaluate(START, wanted)["run_id"]
    return run_id


def open_run(page: Page, netra: RunningNetra, run_id: str) -> None:
    """Finds a run as an operator does: by its id, in the list."""
    page.goto(f"{netra.url}/admin/agents/agentexecution/?q={run_id}")
    page.get_by_role("link", name=run_id).click()
    expect(page.get_by_role("heading", name=run_id)).to_be_visible()


def seqs(page: Page) -> list[int]:
    return [int(str(row.get_attribute("data-seq"))) for row in page.locator("#event-rows tr").all()]


def bars(page: Page, lane: str) -> Locator:
    return page.locator(f'.lane:has(.lane-name:text-is("{lane}")) rect')


@pytest.mark.parametrize("has_redis", [True, False])
def test_an_operator_finds_a_run_whose_worker_was_killed_sees_why_and_ends_it(
    tmp_path: Path,
    postgresql_server: PostgresqlServer,
    opened: OpenPage,
    record_property: Callable[[str, object], None],
    has_redis: bool,
):
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        times = {"NETRA_LEASE_SECONDS": "2", "NETRA_LEASE_RENEW_SECONDS": "0.5"}
        database = {"DATABASE_URL": postgresql_server.create_database(), "REDIS_URL": redis.url}
        netra = stack.enter_context(RunningNetra(tmp_path, **database, **times))
        worker = stack.enter_context(RunningWorker(netra))
        chat, operator = opened(netra.login_url("alice")), opened(netra.login_url())
        is_live(chat)
        turn = start_elsewhere(chat, [{"think": "I begin"}, {"sleep": 600}])
        expect(turn.get_by_text("I begin")).to_be_visible()
        run_id = str(turn.get_attribute("data-run"))

        worker.kill()
        if not has_redis:
            redis.kill()

        operator.goto(f"{netra.url}/admin/agents/agentexecution/?agent_completed=lacking")
        operator.get_by_role("link", name=run_id).click()
        expect(operator.locator(".why")).to_contain_text(re.compile(r"no heartbeat for .* gone", re.IGNORECASE))
        operator.get_by_role("link", name="End as failed").click()
        operator.get_by_label("Reason").fill("Its worker was killed.")
        operator.get_by_role("button", name="End as failed").click()

        ends(turn, "Failed after")
        shown_at = time.time()
        expect(turn.locator(".error-message")).to_contain_text("An operator ended this run.")
        ended_at = netra.run_row(run_id)["completed_at"].timestamp()
        record_property("shown_after_s", round(shown_at - ended_at, 3))
        expect(operator.locator(".messagelist")).to_contain_text("Ended as failed.")
        expect(operator.locator(".noted")).to_contain_text("Its worker was killed.")
        completed = [frame for frame in netra.logged(run_id) if frame["type"] == "agent_completed"]
        assert [frame["data"]["error"]["code"] for frame in completed] == ["ended_by_operator"]


def test_the_page_of_a_live_run_grows_while_one_watches(netra: RunningNetra, page: Page, opened: OpenPage):
    operator = opened(netra.login_url())
    said = complaints(operator)
    echo = {"tool": "echo", "arguments": {"text": "x"}}
    run_id = start(page, [{"think": "First"}, {"sleep": 2}, echo, {"think": "Last"}, {"sleep": 600}])

    open_run(operator, netra, run_id)
    expect(operator.locator("#watching")).to_have_text("Live")
    expect(operator.locator("#event-rows")).to_contain_text("Last")

    assert seqs(operator) == list(range(1, len(netra.logged(run_id)) + 1))
    expect(bars(operator, "echo")).to_have_count(1)
    before = operator.locator(".timeline").inner_html()
    eventually(operator, lambda: operator.locator(".timeline").inner_html() != before)
    page.evaluate(CANCEL, run_id)
    expect(operator.locator(".badge").first).to_have_text("cancelled")
    expect(operator.locator("#event-rows tr").last).to_contain_text("agent_completed")
    expect(operator.locator("#watching")).to_have_count(0)
    assert seqs(operator) == list(range(1, len(netra.logged(run_id)) + 1))
    assert said == []


CANCEL = """async (runId) => {
  const { NetraClient } = await import("/static/notifications/netra-client.js");
  const client = new NetraClient().open();
  await client.cancelRun(runId);
  client.close();
}"""


def test_a_replay_shows_what_the_user_saw(netra: RunningNetra, page: Page, opened: OpenPage):
    script = [
        {"think": "I look it up"},
        {"tool": "echo", "arguments": {"text": "hello"}},
        {"sleep": 1},
        {"stream": "All **there**."},
    ]
    turn = start_elsewhere(page, script)
    ends(turn, "Completed in")
    unfold(turn)
    run_id = str(turn.get_attribute("data-run"))
    operator = opened(netra.login_url())
    said = complaints(operator)
    open_run(operator, netra, run_id)
    operator.get_by_role("link", name="Replay").click()
    frames = netra.logged(run_id)
    expect(operator.locator("#where")).to_contain_text(f"of {len(frames)}")

    seen = []
    for frame in frames:
        operator.get_by_role("button", name="One event on").click()
        expect(operator.locator("#kind")).to_have_text(frame["type"])
        seen.append(operator.locator(".status").inner_text())

    assert "Using echo" in seen
    assert "Writing the answer" in seen or "Thinking" in seen
    replayed = operator.locator(".turn")
    expect(replayed.locator(".status")).to_have_text(turn.locator(".status").inner_text())
    expect(replayed.locator(".answer")).to_have_text("All there.")
    unfold(replayed)
    assert replayed.locator(".steps").inner_text() == turn.locator(".steps").inner_text()
    assert replayed.locator(".answers").inner_html() == turn.locator(".answers").inner_html()

    operator.get_by_role("button", name="Play 5×").click()
    expect(operator.locator("#where")).not_to_contain_text(f"Event {len(frames)} of")
    expect(operator.locator("#where")).to_contain_text(f"Event {len(frames)} of")
    expect(replayed.locator(".answer")).to_have_text("All there.")
    assert said == []


def test_who_may_only_look_sees_neither_actions_nor_contents(netra: RunningNetra, page: Page, opened: OpenPage):
    run_id = start(page, [{"think": SAID}, {"sleep": 1}, {"tool": "echo", "arguments": {"text": SAID}}, {"sleep": 600}])
    viewer = opened(staff_link(netra, "viewer", "view_agentexecution"))

    open_run(viewer, netra, run_id)
    expect(viewer.locator("#watching")).to_have_text("Live")
    expect(viewer.locator("#event-rows")).to_contain_text("tool_completed")

    assert SAID not in viewer.content()
    assert "echo" not in viewer.locator("#content").inner_text()
    expect(viewer.locator(".run-actions a")).to_have_count(0)
    viewer.goto(f"{netra.url}/admin/agents/agentexecution/?q={run_id}")
    expect(viewer.get_by_label("Action")).to_have_count(0)
    page.evaluate(CANCEL, run_id)


def test_without_javascript_the_page_is_whole(netra: RunningNetra, page: Page, browser: Browser, signed_in: Any):
    turn = start_elsewhere(page, [{"think": SAID}, {"stream": "Done."}])
    ends(turn, "Completed in")
    context = browser.new_context(storage_state=signed_in, java_script_enabled=False)
    plain = context.new_page()

    open_run(plain, netra, str(turn.get_attribute("data-run")))

    expect(plain.locator("#event-rows")).to_contain_text(SAID)
    expect(bars(plain, "Thinking").first).to_be_attached()
    plain.get_by_role("link", name="Retry").click()
    expect(plain.get_by_label("Reason")).to_be_visible()
    context.close()
