"""An agent that keeps failing, met by users of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

AGENTS = """
import asyncio

from agents.registry import agent


@agent("moody")
class Moody:
    async def execute(self, context):
        match context.request.message:
            case "fail":
                raise RuntimeError("a bug")
            case "stay":
                await asyncio.sleep(30)
        return "fine"
"""
A_DAY = "86400"
AT_ONCE = "0.000001"


@pytest.fixture(scope="module")
def netra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetra]:
    """Three failures in a row close an agent for a day."""
    folder = tmp_path_factory.mktemp("netra")
    app = folder / "moody"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "agents.py").write_text(AGENTS)
    numbers = {
        "NETRA_BREAKER_FAILURES": "3",
        "NETRA_BREAKER_WINDOW_SECONDS": A_DAY,
        "NETRA_BREAKER_COOLDOWN_SECONDS": A_DAY,
        "NETRA_STOP_GRACE_SECONDS": "0.1",
    }
    with RunningNetra(folder, NETRA_APPS="moody", PYTHONPATH=str(folder), **numbers) as netra:
        yield netra


def ask(chat: Chat, message: str, **fields: Any) -> dict[str, Any]:
    return chat.start_agent(agent="moody", message=message, **fields)


def finish(chat: Chat, message: str, **fields: Any) -> str:
    """The code of the error with which a run ends, empty if it succeeds."""
    accepted = ask(chat, message, **fields)
    assert accepted["type"] == "run_accepted", accepted
    error = chat.finish(accepted["run_id"])[-1]["data"]["error"]
    return error["code"] if error else ""


def restart(netra: RunningNetra, *, cooldown: str) -> None:
    netra.kill()
    netra.environment["NETRA_BREAKER_COOLDOWN_SECONDS"] = cooldown
    netra.run_server()


def test_an_agent_that_keeps_failing_is_closed_tried_and_opened_again(netra: RunningNetra) -> None:
    with netra.connect() as chat:
        assert [finish(chat, "fail", request_id=f"r{number}") for number in range(3)] == ["internal"] * 3

        refused = ask(chat, "fine")
        assert (refused["type"], refused["code"]) == ("error", "agent_unavailable")
        assert "agent moody" in refused["message"]
        assert f"{refused['retry_after']:.0f} s" in refused["message"]
        assert 0 < refused["retry_after"] <= float(A_DAY)
        assert refused["request_id"]
        assert ask(chat, "fail", request_id="r0")["duplicate"] is True
        assert chat.run({"return": 1})[-1]["data"]["status"] == "completed"
    with netra.connect(netra.other_token) as other:
        assert ask(other, "fine")["code"] == "agent_unavailable"

    restart(netra, cooldown=A_DAY)  # a new process knows it too
    with netra.connect() as chat:
        assert ask(chat, "fine")["code"] == "agent_unavailable"

    restart(netra, cooldown=AT_ONCE)
    with netra.connect() as chat, netra.connect(netra.other_token) as other:
        probe = ask(chat, "stay")
        chat.wait_for(probe["run_id"], "agent_started")
        second = ask(other, "fine")
        assert (second["code"], second["retry_after"]) == ("agent_unavailable", 2)
        chat.ask(type="cancel_run", run_id=probe["run_id"])
        chat.finish(probe["run_id"])

        assert finish(other, "fine", request_id="again") == ""
        assert [ask(chat, "stay")["type"] for _ in range(3)] == ["run_accepted"] * 3

    assert "agent unavailable" in netra.log.read_text()


def test_the_agent_that_is_told_to_fail_may_fail_for_ever(netra: RunningNetra) -> None:
    with netra.connect() as chat:
        ends = [chat.run({"raise": "a bug"})[-1]["data"]["error"]["code"] for _ in range(4)]

    assert ends == ["internal"] * 4
