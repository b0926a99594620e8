"""The chat page as such: safe with hostile output, good for everybody, small, and quick with very long runs."""

import json
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from netra.testing.server import RunningNetra
from tests.e2e.chat_page import complaints, ends, eventually, is_live, send, start_elsewhere, start_here, unfold

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
AXE_RULES = "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
SERIOUS = {"serious", "critical"}
PAGE_BYTES = 150_000

HOSTILE = """<img src=x onerror="document.title='owned'"> <script>document.title='owned'</script>
<svg><use href="https://evil.example/x.svg#a"/></svg> <iframe src="https://evil.example"></iframe>

[click](javascript:document.title='owned') ![pixel](https://evil.example/p.png) [fine](https://example.org/)
[data](data:text/html,<script>alert(1)</script>) <a href="https://evil.example" target="_self" rel="opener">there</a>

| a | b |
|---|---|
| <img src=x onerror=alert(1)> | 1 |
| <b onclick="document.title='owned'">bold</b> | 2 |

<style>body{display:none}</style><form action="https://evil.example"><input name="password"></form>
<div id="message" style="position:fixed;inset:0" class="banner">over all</div>
"""


def test_hostile_output_is_only_text(page: Page):
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    script = [
        {"think": HOSTILE},
        {"tool": "echo", "arguments": {HOSTILE: [{"cell": HOSTILE, "n": 1}, {"cell": "x", "n": 2}]}},
        {"stream": HOSTILE, "chunks": 7},
    ]

    turn = start_elsewhere(page, script, message=HOSTILE)

    ends(turn, "Completed in")
    answer = turn.locator(".answer")
    expect(answer.get_by_role("link", name="fine")).to_have_attribute("rel", "noopener noreferrer")
    expect(answer.get_by_role("link", name="there")).to_have_attribute("rel", "noopener noreferrer")
    expect(answer.get_by_role("link", name="there")).to_have_attribute("target", "_blank")
    assert answer.locator("img, script, style, form, input, iframe, use, [href^=javascript], [href^=data]").count() == 0
    assert answer.locator("[onclick], [style], [id], .banner").count() == 0
    expect(turn.locator(".message")).to_contain_text("<script>")
    unfold(turn)
    turn.locator(".tool > summary").click()
    expect(turn.locator(".tool-body")).to_contain_text("<script>")
    assert turn.locator(".tool-body img, .tool-body script, .tool-body style, .tool-body form").count() == 0
    expect(page.get_by_role("heading", name="<img src=x")).to_be_visible()
    assert page.title() != "owned"
    assert {url.split("/")[2] for url in requested} <= {page.url.split("/")[2]}


def test_the_page_meets_its_own_content_security_policy(context: BrowserContext, netra: RunningNetra):
    page = context.new_page()
    said = complaints(page)
    page.goto(netra.url)
    is_live(page)

    rows = [{"x": "a", "n": 1}, {"x": "b", "n": 2}]
    turn = start_elsewhere(
        page, [{"tool": "echo", "arguments": {"rows": rows}}, {"stream": "Some *Markdown*.", "chunks": 3}]
    )
    ends(turn, "Completed in")
    unfold(turn)
    turn.locator(".tool > summary").click()
    turn.get_by_role("button", name="Chart").click()

    expect(turn.locator("svg.chart")).to_be_visible()
    assert said == []


def test_the_admin_works_under_the_policy(page: Page, netra: RunningNetra):
    said = complaints(page)

    for path in ("", "auth/user/add/", "auth/group/add/", "agents/agentexecution/"):
        page.goto(f"{netra.url}/admin/{path}")
        page.wait_for_load_state("networkidle")

    assert [each for each in said if "Content Security Policy" in each] == []


def axe_finds(page: Page) -> list[str]:
    """What axe-core counts as serious or critical, with the elements."""
    page.evaluate(AXE)  # past the page's policy, as developer tools are
    found = page.evaluate(AXE_RULES)["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}" for each in found if each["impact"] in SERIOUS for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, scheme: Literal["light", "dark"]):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    assert axe_finds(page) == []
    rows = [{"x": "a", "n": 1}, {"x": "b", "n": 2}]
    table = "| x | n |\n|---|--:|\n| a | 1 |\n| b | 2 |"
    answer = f"## Found\n\n{table}\n\nA [link](https://example.org/), `code`, and\n\n> a quote"

    turn = start_elsewhere(
        page, [{"tool": "echo", "arguments": {"rows": rows}}, {"tool": "fail", "catch": True}, {"stream": answer}]
    )
    ends(turn, "Completed in")
    unfold(turn)
    turn.locator(".tool > summary").first.click()
    turn.locator(".tool > summary").last.click()
    ends(start_here(page, [{"raise": "boom"}]), "Failed after")
    running = start_here(page, [{"think": "At it"}, {"sleep": 60}])
    expect(running).to_contain_text("At it")
    assert axe_finds(page) == []

    page.get_by_role("button", name="Agent:").click()
    assert axe_finds(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete", exact=False).first.click()
    assert axe_finds(page) == []
    page.keyboard.press("Escape")
    running.get_by_role("button", name="Cancel").click()


def test_a_screen_reader_hears_whole_sentences_and_few(page: Page):
    ends(start_elsewhere(page, []), "Completed in")
    page.evaluate(
        """() => {
          window.heard = [];
          const status = document.querySelector("[role=status]");
          const listen = () => window.heard.push(status.textContent);
          new MutationObserver(listen).observe(status, { childList: true, subtree: true });
        }"""
    )

    ends(start_here(page, [{"emit": 200}, {"stream": "Done.", "chunks": 50}]), "Completed in")

    heard = page.evaluate("window.heard")
    assert len(heard) == 1
    assert heard[0].startswith("scripted has answered in")
    assert page.locator("[aria-live]:not([role=status]), [role=log]").count() == 0


def test_right_to_left_text_stands_on_its_own(page: Page):
    arabic = "مرحبا بالعالم"
    turn = start_elsewhere(page, [{"think": arabic}, {"stream": f"{arabic} ABC."}], message=arabic)
    ends(turn, "Completed in")

    for part in (turn.locator(".message"), turn.locator(".answer")):
        assert part.evaluate("(element) => getComputedStyle(element).direction") == "rtl"
    expect(page.locator("[aria-current] .thread-title")).to_have_attribute("dir", "auto")
    assert turn.locator(".run-head").evaluate("(element) => getComputedStyle(element).direction") == "ltr"


def test_who_wants_no_motion_gets_none(page: Page):
    page.emulate_media(reduced_motion="reduce")
    running = start_elsewhere(page, [{"think": "At it"}, {"sleep": 60}])
    expect(running).to_contain_text("At it")

    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    eventually(page, lambda: page.evaluate(moving) == 0)
    running.get_by_role("button", name="Cancel").click()


@pytest.mark.parametrize("width", [320, 1600])
def test_nothing_sticks_out_sideways(page: Page, width: int):
    script = [
        {"tool": "echo", "arguments": {"a_long_name": "x" * 300, "rows": [{"y" * 90: 1}, {"y" * 90: 2}]}},
        {"stream": "| " + " | ".join("column" for _ in range(30)) + " |\n" + "|---" * 30 + "|\n\n" + "y" * 300},
    ]
    turn = start_elsewhere(page, script, message="z" * 200)
    page.set_viewport_size({"width": width, "height": 640})
    ends(turn, "Completed in")
    unfold(turn)
    turn.locator(".tool > summary").click()

    overhang = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    assert overhang == 0, json.dumps(overhang)


def test_the_page_is_small(context: BrowserContext, netra: RunningNetra):
    page = context.new_page()
    page.goto(netra.url)
    is_live(page)

    sizes = page.evaluate(
        """() => performance.getEntriesByType("resource").filter(({ name }) => /\\.(js|css)$/.test(name))
             .map(({ name, transferSize }) => [name, transferSize])"""
    )

    print(f"script and style: {sum(size for _, size in sizes):,} bytes transferred in {len(sizes)} files")
    assert len(sizes) > 10
    assert all(size > 0 for _, size in sizes)
    assert sum(size for _, size in sizes) < PAGE_BYTES


def test_ten_thousand_events_leave_the_page_short(page: Page):
    page.evaluate(
        """() => {
          window.longTasks = [];
          new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((task) => task.duration)))
            .observe({ type: "longtask" });
        }"""
    )

    turn = start_elsewhere(page, [{"emit": 10_000}, {"stream": "Enough."}])

    ends(turn, "Completed in")
    unfold(turn)
    expect(turn.locator(".activity > summary")).to_contain_text("10,00")
    assert turn.locator(".step").count() == 50
    turn.get_by_role("button", name="earlier").click()
    expect(turn.locator(".step")).to_have_count(250)
    tasks = page.evaluate("window.longTasks")
    print(f"10,000 events: {len(tasks)} tasks over 50 ms, the longest {max(tasks, default=0):.0f} ms")


def test_an_event_is_seen_soon_after_its_arrival(page: Page):
    """Prints how long; that it is seen at all is what is asserted."""
    page.evaluate(
        """async () => {
          const { NetraClient } = await import("/static/notifications/netra-client.js");
          const client = new NetraClient().open();
          window.seen = new Promise((resolve) => {
            let arrived = 0;
            client.onEvent(() => (arrived ||= performance.now()));
            new MutationObserver(() => {
              if (arrived && document.querySelector(".turn .thought")) resolve(performance.now() - arrived);
            }).observe(document.querySelector("#turns"), { childList: true, subtree: true });
          });
          await new Promise((resolve) => client.onConnection(({ state }) => state === "live" && resolve()));
        }"""
    )

    ends(send(page, "No table here"), "Failed after")

    took = page.evaluate("window.seen")
    print(f"the first event was on the page {took:.0f} ms after its arrival")
    assert took >= 0
