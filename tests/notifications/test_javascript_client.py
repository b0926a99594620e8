"""The JavaScript client, in Chromium, against the scenarios that every client must pass. Needs no server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from tests.e2e.chromium import launched

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "notifications" / "static"
SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.json"))
PLAY = (Path(__file__).parent / "js" / "play.js").read_text()
READ = (Path(__file__).parent / "js" / "read.js").read_text()
ORIGIN = "http://netra.test"
MODULE = f"{ORIGIN}/static/notifications/netra-client.js"


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        tab = browser.new_page()
        tab.route(f"{ORIGIN}/**", from_disk)
        yield tab


@pytest.fixture
def page(tab: Page) -> Page:
    """An empty page of its own, and modules that no other test has loaded."""
    tab.goto(f"{ORIGIN}/")
    return tab


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


def test_iterating_a_run_starts_at_its_first_event_and_ends_after_its_last(page: Page):
    result = page.evaluate(READ, {"module": MODULE, "last": 4, "play": [1, 2, {"after": 0}, 1, 2, 3, 4]})

    assert result == {"read": [[1, 2, 3, 4, "end"]], "heard": [1, 2, 3, 4], "asked": [0]}


def test_a_stream_that_is_opened_during_a_resume_gets_what_went_by_before(page: Page):
    during = [1, 2, {"after": 0}, 3, 1, 2, 3, 4]

    result = page.evaluate(READ, {"module": MODULE, "head": 3, "last": 4, "play": during})

    assert result == {"read": [[1, 2, 3, 4, "end"]], "heard": [1, 2, 3, 4], "asked": [0, 0]}


def test_a_second_stream_does_not_take_the_servers_place_past_the_first(page: Page):
    both = [1, 2, {"after": 0}, {"after": 1}, 1, 2, 3, 4]

    result = page.evaluate(READ, {"module": MODULE, "last": 4, "play": both})

    assert result == {"read": [[1, 2, 3, 4, "end"], [2, 3, 4, "end"]], "heard": [1, 2, 3, 4], "asked": [0, 0]}


def test_a_stream_that_lacks_nothing_asks_for_nothing(page: Page):
    result = page.evaluate(READ, {"module": MODULE, "head": 2, "last": 4, "play": [1, {"after": 1}, 2, 3, 4]})

    assert result == {"read": [[2, 3, 4, "end"]], "heard": [1, 2, 3, 4], "asked": [0]}


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


def test_a_run_that_was_let_go_of_comes_from_its_first_event_again(page: Page):
    sent = page.evaluate(
        """async (module) => {
          const { Cursors } = await import(module.replace("netra-client", "netra-cursors"));
          const cursors = new Cursors();
          for (const seq of [1, 2, 3]) cursors.receive({ type: "agent_thinking", run_id: "run_a", seq, data: {} });
          cursors.forget("run_a");
          return [cursors.behind, cursors.acknowledge(), cursors.resume(["run_a"])[0].cursors];
        }""",
        MODULE,
    )

    assert sent == [0, [], {"run_a": 0}]


def test_what_nobody_has_looked_at_for_long_is_let_go_of(page: Page):
    kept, forgotten = page.evaluate(
        """async (module) => {
          const { RunStore } = await import(module.replace("netra-client", "run-store"));
          const forgotten = [];
          const store = new RunStore((runId) => forgotten.push(runId));
          for (let number = 0; number < 400; number += 1) {
            const state = store.ensure(`run_${String(number).padStart(3, "0")}`, "analyst");
            state.threadId = number % 2 ? "thread_shown" : "thread_other";
            state.status = number % 10 ? "completed" : null;
          }
          store.forgetAllBut("thread_shown");
          return [store.ofThread("thread_shown").length, forgotten];
        }""",
        MODULE,
    )

    assert kept == 200
    assert len(forgotten) == 100
    assert forgotten[0] == "run_002"
    assert not any(run_id.endswith("0") or int(run_id[-1]) % 2 for run_id in forgotten)
