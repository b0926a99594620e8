"""What docs say to people who write clients holds on a running server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from netra.testing.chat import Chat
from netra.testing.server import ROOT, RunningNetra
from notifications import schemas

pytestmark = pytest.mark.e2e

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def example() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PROTOCOL, re.DOTALL | re.MULTILINE)
    return str(code)


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


def test_the_example_is_as_short_as_it_says():
    assert len(example().splitlines()) <= 40


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
