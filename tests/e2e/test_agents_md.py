"""What docs/agents.md tells authors of agents, done: each of its agents is run on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful
from netra.testing.server import ROOT, RunningNetra

pytestmark = pytest.mark.e2e

TEXT = (ROOT / "docs" / "agents.md").read_text()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetra]:
    """A Netra with all agents of the document in one app."""
    folder = tmp_path_factory.mktemp("office")
    app = folder / "office"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "agents.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)))
    leases = {"NETRA_LEASE_SECONDS": "2", "NETRA_LEASE_RENEW_SECONDS": "0.5"}
    environment = {"NETRA_APPS": "office", "PYTHONPATH": str(folder), "OUTBOX": str(folder / "outbox.txt"), **leases}
    with RunningNetra(folder, **environment) as netra:
        yield netra


@pytest.fixture
def chat(office: RunningNetra) -> Iterator[Chat]:
    with office.connect() as chat:
        yield chat


def answer_of(events: list[dict[str, Any]]) -> Any:
    require_lawful(events)
    assert events[-1]["data"]["status"] == "completed", events[-1]
    return events[-1]["data"]["result"]["output"]


def test_ten_lines(chat: Chat) -> None:
    code = re.search(r"## Ten lines\n\n```python\n(.*?)```", TEXT, re.DOTALL)

    assert answer_of(chat.run(agent="greeter", message="Ada")) == "Hello Ada!"
    assert code is not None
    assert len([line for line in code[1].splitlines() if line.strip()]) <= 10


def test_tools(chat: Chat) -> None:
    events = chat.run(agent="till", message="tea cake gold")
    nothing = chat.run(agent="till", message="gold")

    assert answer_of(events) == {"total": 8}
    assert events[-1]["data"]["result"]["warnings"] == ["We sell no gold."]
    assert nothing[-1]["data"]["error"]["code"] == "nothing_ordered"


def test_text_as_it_comes_and_what_was_said_before(chat: Chat) -> None:
    first = chat.run(agent="echo", message="Good morning")
    second = chat.run(agent="echo", message="Well", thread_id=first[0]["thread_id"])

    assert answer_of(first) == "Good morning (before: nothing) "
    assert answer_of(second) == "Well (before: Good morning) "
    for events in (first, second):
        pieces = [event["data"]["delta"] for event in events if event["type"] == "partial_result"]
        assert "".join(pieces) == answer_of(events)


def resolve(chat: Chat, run_id: str, number: int, decision: str, **more: Any) -> None:
    """Answers the run's approval of that number."""
    asked = [event for event in chat.view(run_id) if event["type"] == "approval_requested"]
    while len(asked) < number:
        chat.receive_until("approval_requested", run_id=run_id)
        asked = [event for event in chat.view(run_id) if event["type"] == "approval_requested"]
    approval = asked[number - 1]["data"]["approval_id"]
    answer = chat.ask(type="resolve_approval", run_id=run_id, approval_id=approval, decision=decision, **more)
    assert answer["type"] == "approval_accepted", answer


def test_asking_a_person(chat: Chat) -> None:
    run_id = chat.start_run(agent="buyer")["run_id"]
    resolve(chat, run_id, 1, "approve", arguments={"limit": 20})
    resolve(chat, run_id, 2, "approve", arguments={"item": "cake", "count": 2})
    refused = chat.start_run(agent="buyer")["run_id"]
    resolve(chat, refused, 1, "reject")

    assert answer_of(chat.finish(run_id)) == "2 cake ordered"
    assert answer_of(chat.finish(refused)) == "Nothing bought: rejected."


def test_a_worker_killed_between_two_tool_calls_has_done_the_first_one_once(office: RunningNetra) -> None:
    with office.connect() as chat:
        run_id = chat.start_run(agent="postman", message="ada bob")["run_id"]
        asked = chat.wait_for(run_id, "approval_requested")
    office.kill()
    office.run_server()
    with office.connect() as chat:
        chat.resume(**{run_id: 0})
        resolve(chat, run_id, 2, "approve")  # the same question, told again after the crash
        chat.finish(run_id)
        events = chat.view(run_id)

    again = [event for event in events if event["type"] == "approval_requested"][1]
    assert again["data"]["approval_id"] == asked["data"]["approval_id"]
    assert [event["type"] for event in events].count("run_recovered") == 1
    assert answer_of(events) == ["sent to ada", "sent to bob"]
    assert Path(office.environment["OUTBOX"]).read_text() == "ada\nbob\n"


def test_other_agents(chat: Chat) -> None:
    host = chat.run(agent="host", message="Ada Bob")
    chain = chat.run(agent="chain", message="Ada")

    assert answer_of(host) == {"greetings": ["Hello Ada!", "Hello Bob!"], "bill": {"total": 8}}
    assert answer_of(chain) == "Hello after 2 stages, Hello Ada!!"
    children = {event["run_id"] for event in chat.frames if event.get("parent_run_id") == host[0]["run_id"]}
    assert len(children) == 3
    for run_id in children:
        require_lawful(chat.finish(run_id))


def test_a_team(chat: Chat) -> None:
    events = chat.run(agent="chef", message="tea tea")

    assert answer_of(events) == "till: {'total': 6}\necho: tea tea (before: nothing) \nnobody: unknown_agent\n"


def test_the_supervisor_has_two_children_work_at_once_and_cancelling_it_cancels_them(chat: Chat) -> None:
    slow = {"agents": ["scripted", "scripted"], "script": [{"sleep": 60}]}
    run_id = chat.start_run(agent="supervisor", message="Wait.", params=slow)["run_id"]
    begun: set[str] = set()
    while len(begun) < 2:
        begun.add(chat.receive_until("agent_started")["run_id"])
        begun.discard(run_id)
    chat.send(type="cancel_run", run_id=run_id)

    for each in (run_id, *begun):
        events = chat.finish(each)
        require_lawful(events)
        assert events[-1]["data"]["status"] == "cancelled"
        assert events[0].get("parent_run_id") == (None if each == run_id else run_id)


def test_the_supervisor_joins_what_the_analyst_and_another_say(chat: Chat) -> None:
    params = {"agents": ["analyst", "scripted"], "script": [{"return": "Scripted says so."}]}
    events = chat.run(agent="supervisor", message="How many rows?\n\nregion,units\nNorth,3\nSouth,5", params=params)

    answer = answer_of(events)
    assert answer.index("# analyst") < answer.index("Scripted says so.")
    assert "".join(event["data"]["delta"] for event in events if event["type"] == "partial_result") == answer
