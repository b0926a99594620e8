"""What README.md tells a newcomer to do, done."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from netra.testing.server import ROOT, RunningNetra

pytestmark = pytest.mark.e2e


def code_of(heading: str, language: str) -> str:
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2]
    match = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    """The app `greetings`, with the README's agent in it."""
    app = tmp_path / "greetings"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "agents.py").write_text(code_of("Your first agent", "python"))
    return tmp_path


def test_the_first_agent_shows_up_in_the_chat_and_works(app_folder: Path) -> None:
    with RunningNetra(app_folder, NETRA_APPS="greetings", PYTHONPATH=str(app_folder)) as netra:
        browser = build_opener(HTTPCookieProcessor())
        page = browser.open(netra.login_url()).read().decode()
        assert "Counts the words of your message." in page

        with netra.connect() as chat:
            run_id = chat.start_run(agent="counter", message="one two three")["run_id"]
            done = chat.receive_until("agent_completed", run_id=run_id)
            kinds = [event["type"] for event in chat.events(run_id)]

    assert done["data"]["result"]["output"] == "Your message has 3 words."
    assert kinds == [
        "agent_started",
        "agent_thinking",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
