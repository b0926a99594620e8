"""What docs say to people who write clients holds on a running server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from playwright.sync_api import Page, WebSocketRoute

from netra.testing.chat import Chat
from netra.testing.server import ROOT, RunningNetra
from notifications import schemas

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
CLIENTS = (ROOT / "docs" / "clients.md").read_text()
SCENARIOS = ROOT / "tests" / "scenarios"


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", CLIENTS, re.DOTALL | re.MULTILINE)


def example() -> str:
    client, _ = examples("python")
    return client


def run_example(netra: RunningNetra, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "client.py"
    script.write_text(example())
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "NETRA_URL": netra.ws_url, "NETRA_TOKEN": netra.token, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_example_prints_the_events_of_its_run(netra: RunningNetra, tmp_path):
    done = run_example(netra, tmp_path)

    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    types = [type_ for _, type_, _ in lines]
    assert (done.returncode, done.stderr) == (0, "")
    assert [int(seq) for seq, _, _ in lines] == list(range(1, len(lines) + 1))
    assert (types[0], types[-1]) == ("agent_started", "agent_completed")
    assert {"agent_thinking", "tool_executing", "tool_completed", "partial_result"} <= set(types)


def test_the_examples_are_as_short_as_they_say():
    (javascript,) = examples("js")

    assert len(example().splitlines()) <= 40
    assert len(javascript.splitlines()) <= 40


@pytest.mark.browser
def test_the_javascript_example_loses_nothing_with_its_connection(page: Page, netra: RunningNetra):
    (code,) = examples("js")
    page.route("**/static/example.js", lambda route: route.fulfill(body=code, content_type="text/javascript"))
    connections: list[WebSocketRoute] = []

    def cut_off_the_first(socket: WebSocketRoute) -> None:
        connections.append(socket)
        server = socket.connect_to_server()
        is_first = len(connections) == 1

        def pass_on(text: str | bytes) -> None:
            if is_first and json.loads(text).get("seq", 0) > 3:
                socket.close(code=1012)
            else:
                socket.send(text)

        server.on_message(pass_on)

    page.route_web_socket("**/ws/", cut_off_the_first)
    seqs = page.evaluate(
        """async (url) => {
          const { ask } = await import("/static/example.js");
          const seqs = [];
          const params = { script: [{ emit: 20 }, { sleep: 0.5 }, { stream: "Done." }] };
          await ask(() => url, { agent: "scripted", message: "Go.", params }, ({ seq }) => seqs.push(seq));
          return seqs;
        }""",
        netra.ws_url,
    )

    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 20
    assert len(connections) == 2


@pytest.mark.parametrize(("scenario", "code"), [("hole", 0), ("duplicates", 0), ("cancel", 0), ("gap", 1)])
def test_the_player_of_scenarios_tells_right_from_wrong(tmp_path: Path, scenario: str, code: int):
    _, player = examples("python")
    (tmp_path / "play.py").write_text(player)

    command = [sys.executable, "play.py", str(SCENARIOS / f"{scenario}.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    promise = json.loads((SCENARIOS / f"{scenario}.json").read_text())["promise"]
    assert done.returncode == code  # this client knows nothing of gaps
    assert promise in (done.stderr if code else done.stdout)


def test_every_message_and_event_is_in_the_tables():
    missing = [type_ for type_ in schemas.types() if f"\n| `{type_}` | " not in PROTOCOL]

    assert missing == []


def test_what_a_running_server_sends_is_valid(chat: Chat):
    run_id = chat.start_run({"tool": "echo", "arguments": {"a": 1}}, {"tool": "fail", "catch": True}, {"stream": "Hi"})[
        "run_id"
    ]
    chat.receive_until("agent_completed", run_id=run_id)
    chat.send(type="ping", id="1")
    chat.send(type="weather")
    chat.send(type="cancel_run", run_id=run_id)
    chat.send(type="resume", cursors={run_id: 2}, id="2")
    chat.receive_until("caught_up")
    chat.receive_until("head")

    for frame in chat.frames:
        Draft202012Validator(schemas.standalone(frame["type"])).validate(frame)

    seen = {frame["type"] for frame in chat.frames}
    events = {"agent_started", "tool_executing", "tool_completed", "partial_result", "agent_completed"}
    assert {"connection_established", "pong", "error", "run_accepted", "cancel_accepted", "head"} | events <= seen
