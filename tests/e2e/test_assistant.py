"""The assistant on the real local model: a real language model, real sockets, real tokens."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.llm.local import LocalModel
from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, types_of
from netra.testing.server import RunningNetra
from tests.runs import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

START = 60.0
"""Seconds for the first answer: the model is read into memory."""
SEA = "Write two sentences about the sea."


def shown(events):
    return "".join(event["data"]["delta"] for event in events if event["type"] == "partial_result")


def result(events):
    assert events[-1]["data"]["status"] == "completed", events[-1]
    return events[-1]["data"]["result"]


@pytest.fixture(scope="module")
def assisted(netra: RunningNetra, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetra]:
    """A Netra whose assistant has the local server as an endpoint that is addressed by URL."""
    local = LocalModel()
    served = local._serve()
    settings = {"BASE_URL": served.base_url, "MODEL": served.model, "API_KEY": served.api_key, "TOOLS": "json"}
    environment = {f"NETRA_LLM_{name}": value for name, value in settings.items()}
    with netra.beside(tmp_path_factory.mktemp("assisted"), **environment) as beside:
        yield beside
    local.stop()


def test_the_local_model_streams_a_real_answer_and_pings_are_answered_meanwhile(chat: Chat, netra: RunningNetra):
    accepted = chat.start_run(agent="assistant", message=SEA)
    run_id = accepted["run_id"]
    first = chat.receive_until("partial_result", run_id=run_id, seconds=START)
    pong = chat.ask(type="ping", id="while it talks")
    talking = "agent_completed" not in types_of(chat.events(run_id))
    events = chat.finish(run_id)

    require_lawful(events)
    assert (pong["type"], talking) == ("pong", True)
    assert first["data"]["delta"]
    assert types_of(events).count("partial_result") > 3
    assert shown(events) == result(events)["output"] == netra.logged(run_id)[-1]["data"]["result"]["output"]
    assert len(result(events)["output"].split()) > 8
    assert result(events)["metadata"]["usage"]["output_tokens"] > 8


async def test_a_model_that_was_started_with_netra_keeps_nobody_waiting(tmp_path: Path):
    with RunningNetra(tmp_path, NETRA_LLM_WARM="1") as netra:
        await until(lambda: "local model started" in netra.log.read_text(), START)
        with netra.connect() as chat:
            events = chat.finish(chat.start_run(agent="assistant", message=SEA)["run_id"])

    require_lawful(events)
    assert result(events)["output"]
    assert not [event for event in events if "I am starting the local language model." in str(event["data"])]


def test_its_tools_go_through_a_grammar_and_the_thread_is_its_memory(chat: Chat):
    first = chat.start_run(agent="assistant", message="What is 17 * 23?")
    events = chat.finish(first["run_id"], seconds=START)

    require_lawful(events)
    assert [event["data"]["arguments"] for event in events if event["type"] == "tool_executing"] == [
        {"expression": "17 * 23"}
    ]
    assert shown(events) == result(events)["output"] == "17 * 23 = 391"
    assert result(events)["metadata"]["usage"]["requests"] == 1

    table = "Which region sold most?\n\nregion,units\nNorth,5\nSouth,9\n"
    events = chat.run(agent="assistant", message=table, thread_id=first["thread_id"])
    assert "South" in result(events)["output"]

    events = chat.run(agent="assistant", message="What did I say about 23?", thread_id=first["thread_id"])
    assert "you wrote: What is 17 * 23?" in result(events)["output"]
    assert "region" not in result(events)["output"]


def test_the_supervisor_has_the_analyst_and_the_assistant_work_at_once(chat: Chat):
    table = "region,units\nNorth,3\nSouth,5"
    run_id = chat.start_run(agent="supervisor", message=f"How many rows are there?\n\n{table}")["run_id"]
    answer = result(chat.finish(run_id, seconds=START))["output"]

    members = {event["agent_name"]: event for event in chat.frames if event["type"] == "agent_started"}
    assert set(members) == {"supervisor", "analyst", "assistant"}
    logs = [chat.events(members[name]["run_id"]) for name in ("analyst", "assistant")]
    for events in logs:
        require_lawful(events)
        assert events[0]["parent_run_id"] == run_id
        assert result(events)["output"] in answer
    first_end = min(events[-1]["timestamp"] for events in logs)
    assert all(events[0]["timestamp"] < first_end for events in logs), "one after the other"


def test_the_same_server_serves_as_an_endpoint_addressed_by_its_url(assisted: RunningNetra):
    with assisted.connect() as chat:
        talked = chat.finish(chat.start_run(agent="assistant", message=SEA)["run_id"], seconds=START)
        converted = chat.run(agent="assistant", message="Convert 5 miles to km")

    assert types_of(talked).count("partial_result") > 3
    assert shown(talked) == result(talked)["output"] != ""
    assert "tool_executing" in types_of(converted)
    assert shown(converted) == result(converted)["output"] == "5 miles = 8.04672 kilometres"
    assert children(assisted.pid) == []


def test_the_model_ends_with_a_server_that_was_killed(netra: RunningNetra, tmp_path: Path):
    with netra.beside(tmp_path / "beside") as beside:
        with beside.connect() as chat:
            result(chat.finish(chat.start_run(agent="assistant", message="What is 2 + 2?")["run_id"], seconds=START))
        (model,) = children(beside.pid)
        beside.signal(signal.SIGKILL)
        beside.wait()

        deadline = time.monotonic() + 20
        while is_alive(model):
            assert time.monotonic() < deadline, "the model has outlived its server"
            time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
