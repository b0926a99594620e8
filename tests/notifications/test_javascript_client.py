"""The JavaScript client, in Chromium, against the scenarios that every client must pass. Needs no server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.e2e.chromium import launched

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "notifications" / "static"
SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.json"))
PLAY = (Path(__file__).parent / "js" / "play.js").read_text()
ORIGIN = "http://netra.test"
MODULE = f"{ORIGIN}/static/notifications/netra-client.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.route(f"{ORIGIN}/**", from_disk)
    page.goto(f"{ORIGIN}/")
    yield page
    page.close()


def from_disk(route: Route) -> None:
    path = route.request.url.removeprefix(f"{ORIGIN}/static/")
    if path.endswith(".js"):
        route.fulfill(body=(STATIC / path).read_text(), content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html>", content_type="text/html")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario(page: Page, scenario: Path):
    steps = json.loads(scenario.read_text())["steps"]

    results = page.evaluate(PLAY, {"steps": steps, "module": MODULE})

    for number, (step, result) in enumerate(zip(steps, results, strict=True), 1):
        seen = {key: result[key] for key in ("accepts", "sends", "answers")}
        expected = {key: step.get(key, []) for key in seen}
        for key in ("state", "ended"):
            if key in step:
                seen[key], expected[key] = result[key], step[key]
        assert matches(seen, expected), f"step {number} {step}: {seen}"


def matches(seen: Any, expected: Any) -> bool:
    """Equal, where "*" is any value."""
    match expected:
        case "*":
            return True
        case dict():
            same_keys = isinstance(seen, dict) and seen.keys() == expected.keys()
            return same_keys and all(matches(seen[key], expected[key]) for key in expected)
        case list():
            same_length = isinstance(seen, list) and len(seen) == len(expected)
            return same_length and all(map(matches, seen, expected))
        case _:
            return bool(seen == expected)


ITERATE = """async (module) => {
  const { NetraClient } = await import(module);
  const sockets = [];
  class FakeSocket {
    constructor() { sockets.push(this); this.sent = []; }
    send(text) { this.sent.push(JSON.parse(text)); }
    receive(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
    close() {}
  }
  const client = new NetraClient({ url: "ws://netra.test/ws/", WebSocket: FakeSocket }).open();
  await null;
  const [socket] = sockets;
  const event = (seq, type = "agent_thinking") => socket.receive(
    { type, run_id: "run_a", seq, timestamp: "2026-11-21T09:00:00Z", data: { status: "completed" } });
  socket.receive({ type: "connection_established", server_time: "2026-11-21T09:00:00Z", runs: [] });
  event(1);
  event(2);
  const heard = [];
  client.onEvent((each) => heard.push(each.seq));
  const read = [];
  const reading = (async () => { for await (const each of client.events("run_a")) read.push(each.seq); })();
  const asked = socket.sent.filter((frame) => frame.type === "resume").map((frame) => frame.cursors);
  event(1); event(2); event(3); event(4, "agent_completed");
  await reading;
  client.close();
  return { read, heard, asked };
}"""


def test_iterating_a_run_starts_at_its_first_event_and_ends_after_its_last(page: Page):
    result = page.evaluate(ITERATE, MODULE)

    assert result == {"read": [1, 2, 3, 4], "heard": [3, 4], "asked": [{"run_a": 0}]}


def test_a_message_that_is_too_large_is_refused_before_it_is_sent(page: Page):
    code = page.evaluate(
        """async (module) => {
          const { NetraClient } = await import(module);
          const client = new NetraClient({ url: "ws://netra.test/ws/" });
          return client.startAgent({ agent: "analyst", message: "x".repeat(65536) }).catch((error) => error.code);
        }""",
        MODULE,
    )

    assert code == "message_too_large"
