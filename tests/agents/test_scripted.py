import time

import pytest

from agents.library.scripted import Scripted, Step, _is_restartable, _read_script, echo, fail, sleep
from agents.runs import RunRequest
from tests.agents.crew import crew_of
from tests.runs import make_terms

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def script(workshop):
    workshop.registry.register_agent_safely("scripted", Scripted, tools=[echo, sleep, fail], streaming=True)

    async def run(*steps, timeout=20.0, **params):
        claim = await workshop.claim(
            agent="scripted", params={"script": list(steps), **params}, terms=make_terms(timeout=timeout)
        )
        return await workshop.execute(claim)

    return run


def types(log):
    return [frame["type"] for frame in log[2:]]


async def test_steps_are_done_in_their_order(script):
    log = await script(
        {"think": "First."},
        {"tool": "echo", "arguments": {"a": [1]}},
        {"stream": "Hello", "chunks": 2},
        {"return": {"b": 2}},
        {"think": "never"},
    )

    kinds = types(log)
    assert kinds[:3] == ["agent_thinking", "tool_executing", "tool_completed"]
    assert set(kinds[3:-1]) == {"partial_result"}
    assert log[4]["data"]["result"] == {"a": [1]}
    assert "".join(frame["data"]["delta"] for frame in log if frame["type"] == "partial_result") == "Hello"
    assert log[-1]["data"]["result"]["output"] == {"b": 2}


async def test_children_are_runs_of_other_agents(workshop):
    workshop.registry.register_agent_safely("scripted", Scripted, tools=[echo, sleep, fail], streaming=True)
    child = {"child": "scripted", "message": "Hi.", "params": {"script": [{"return": 1}]}}
    bad = {"child": "scripted", "params": {"script": [{"raise": "oops"}]}}
    async with crew_of(workshop) as crew:
        crew.start()
        caught = [{"children": [child, bad], "catch": True}, bad | {"catch": True}, child, {"return": "done"}]
        log = await crew.run("scripted", params={"script": caught})
        failed = await crew.run("scripted", params={"script": [{"children": [child, bad]}]})
        children = await crew.children_of(log[0]["run_id"])

    assert log[-1]["data"]["result"]["output"] == "done"
    assert sorted(one.status for one in children) == ["completed", "completed", "failed", "failed"]  # two began at once
    assert failed[-1]["data"]["error"]["code"] == "child_failed"


async def test_emit_makes_so_many_events_of_that_size(script):
    log = await script({"emit": 50, "bytes": 200})

    thoughts = [frame["data"]["reasoning"] for frame in log[2:-1]]
    assert len(thoughts) == 50
    assert {len(thought) for thought in thoughts} == {200}


async def test_emit_keeps_its_rate(script):
    began = time.monotonic()
    await script({"emit": 20, "rate": 100})

    assert time.monotonic() - began >= 0.19


async def test_parallel_tools_run_side_by_side(script):
    began = time.monotonic()
    log = await script({"parallel": [{"tool": "sleep", "arguments": {"seconds": 0.2}}] * 5})

    assert time.monotonic() - began < 0.9
    assert types(log)[:5] == ["tool_executing"] * 5


async def test_a_failing_tool_fails_the_run_unless_caught(script):
    failed = await script({"tool": "fail", "arguments": {"message": "Nope."}})
    caught = await script({"tool": "fail", "catch": True}, {"return": 1})

    assert failed[-1]["data"]["error"] == {"code": "tool_failed", "message": "Nope."}
    assert caught[-1]["data"]["result"]["output"] == 1


async def test_raise_is_an_error_of_the_agents_own(script):
    log = await script({"raise": "needle"})

    assert log[-1]["data"]["error"]["code"] == "internal"
    assert "needle" not in repr(log)


async def test_a_script_without_return_gives_none(script):
    log = await script({"sleep": 0.01}, {"block": 0.01})

    assert log[-1]["data"]["status"] == "completed"
    assert log[-1]["data"]["result"]["output"] is None


@pytest.mark.parametrize(
    "step",
    [{}, {"think": "a", "sleep": 1}, {"thinkk": "a"}, {"sleep": "long"}, {"parallel": [{"x": 1}]}, 7],
    ids=["no verb", "two verbs", "unknown", "wrong type", "wrong inside", "no object"],
)
async def test_a_script_that_cannot_be_read_fails_and_says_where(script, step):
    log = await script(step)

    assert log[-1]["data"]["error"]["code"] == "bad_script"
    assert log[-1]["data"]["error"]["message"]


async def test_no_script_is_told(workshop, script):
    log = await workshop.execute(await workshop.claim(agent="scripted"))

    assert log[-1]["data"]["error"]["code"] == "no_script"


def test_restartable_stands_beside_the_script():
    def ask(params):
        return _is_restartable(RunRequest(agent="scripted", message="Go.", params=params))

    assert ask({"restartable": True})
    assert not ask({})
    assert not ask({"restartable": "yes"})


def test_returning_none_is_returning():
    assert _read_script([{"return": None}]) == [Step(return_=None)]
