"""A person's answer, from whichever window, reaches the run that waits for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful
from netra.testing.server import RunningNetra

pytestmark = pytest.mark.e2e

QUESTION = {"approval": "Shall I send it?", "arguments": {"to": "bob", "token": "needle"}}


def begin(chat: Chat) -> dict[str, str]:
    """The ids of a run and of the approval for which it waits."""
    run_id = chat.start_run(QUESTION, {"return": "sent"})["run_id"]
    asked = chat.wait_for(run_id, "approval_requested")
    assert asked["data"]["arguments"] == {"to": "bob", "token": "[redacted]"}
    return {"run_id": run_id, "approval_id": asked["data"]["approval_id"]}


def test_an_approval_is_given_from_a_second_window_with_other_arguments(netra: RunningNetra, chat: Chat) -> None:
    question = begin(chat)
    with netra.connect() as second:
        answer = second.ask(
            type="resolve_approval", **question, decision="approve", arguments={"to": "eve", "token": "[redacted]"}
        )
    events = chat.finish(question["run_id"])

    require_lawful(events)
    assert answer == {"type": "approval_accepted", **question, "decision": "approved"}
    resolved = next(event for event in events if event["type"] == "approval_resolved")
    assert resolved["data"]["arguments"] == {"to": "eve", "token": "[redacted]"}
    assert "needle" in events[-2]["data"]["reasoning"]  # the agent itself has the secret, and here tells it
    assert events[-1]["data"]["result"]["output"] == "sent"


def test_an_approval_is_given_over_http(netra: RunningNetra, chat: Chat) -> None:
    question = begin(chat)
    address = f"{netra.url}/api/v1/runs/{question['run_id']}/approvals/{question['approval_id']}"
    said = {"decision": "approve", "arguments": {"to": "eve", "token": "[redacted]"}, "comment": "Rather her."}

    def send(token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with urlopen(Request(address, json.dumps(said).encode(), headers)) as answer:
            return json.load(answer)

    with pytest.raises(HTTPError) as foreign:
        send(netra.other_token)
    answers = [send(netra.token), send(netra.token)]
    events = chat.finish(question["run_id"])

    require_lawful(events)
    assert (foreign.value.code, json.load(foreign.value)["code"]) == (404, "not_found")
    assert answers == 2 * [{**question, "decision": "approved"}]
    assert [event["type"] for event in events].count("approval_resolved") == 1
    assert '"to": "eve"' in events[-2]["data"]["reasoning"]


def test_a_tool_is_called_with_what_was_approved(chat: Chat) -> None:
    run_id = chat.start_run({"tool": "deliver", "arguments": {"to": "bob", "copies": 2}})["run_id"]
    approval = {"run_id": run_id, "approval_id": chat.wait_for(run_id, "approval_requested")["data"]["approval_id"]}

    wrong = chat.ask(type="resolve_approval", **approval, decision="approve", arguments={"to": "eve", "copies": "many"})
    chat.ask(type="resolve_approval", **approval, decision="approve", arguments={"to": "eve", "copies": 3})
    events = chat.finish(run_id)

    require_lawful(events)
    assert (wrong["code"], wrong["field"], wrong["approval_id"]) == (
        "invalid_message",
        "arguments",
        approval["approval_id"],
    )
    assert [event["data"]["result"] for event in events if event["type"] == "tool_completed"] == ["3 for eve"]


def test_the_first_answer_counts_and_a_stranger_has_none(netra: RunningNetra, chat: Chat) -> None:
    question = begin(chat)
    with netra.connect(netra.other_token) as stranger:
        foreign = stranger.ask(type="resolve_approval", **question, decision="approve")
    first = chat.ask(type="resolve_approval", **question, decision="reject", comment="Not now.")
    second = chat.ask(type="resolve_approval", **question, decision="approve")
    events = chat.finish(question["run_id"])

    assert (foreign["code"], second["code"]) == ("not_found", "approval_closed")
    assert first["decision"] == "rejected"
    assert events[-1]["data"]["error"] == {"code": "rejected", "message": "The approval was not given: Not now."}


def test_what_waits_for_a_person_is_shown_to_whoever_connects_later(netra: RunningNetra, chat: Chat) -> None:
    question = begin(chat)
    with netra.connect() as late:
        (mine,) = [run for run in late.established["runs"] if run["run_id"] == question["run_id"]]
        late.resume(**{question["run_id"]: 0})
        asked = late.wait_for(question["run_id"], "approval_requested")
        late.ask(type="resolve_approval", **question, decision="approve")

    assert mine["phase"] == "awaiting_approval"
    assert asked["data"]["approval_id"] == question["approval_id"]
    chat.finish(question["run_id"])


def test_nobody_answers_and_time_decides(chat: Chat) -> None:
    events = chat.run(QUESTION | {"timeout": 0.2, "catch": True}, {"return": "not sent"})

    require_lawful(events)
    resolved = next(event for event in events if event["type"] == "approval_resolved")
    assert resolved["data"]["decision"] == "expired"
    assert events[-1]["data"]["result"]["output"] == "not sent"


def test_a_run_that_waits_for_a_person_is_cancelled_like_any_other(chat: Chat) -> None:
    question = begin(chat)
    chat.ask(type="cancel_run", run_id=question["run_id"])
    events = chat.finish(question["run_id"])

    require_lawful(events)
    assert events[-1]["data"]["status"] == "cancelled"
