"""The five events, from a single tool call to a whole run over a real socket, and what must never break again."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from agents.bridge import RunNotifier, ToolStatus
from agents.errors import IllegalEvent, IllegalTransition, ToolError, UnknownExecution
from agents.events import Problem
from agents.ids import Prefix, is_id, new_id
from agents.journal import Journal
from agents.leases import Claim
from agents.phases import TERMINAL, TRANSITIONS, AgentExecutionPhase
from agents.registry import AgentRegistry
from agents.runs import Run, RunRequest, RunState
from agents.tools import (
    NotifyingToolDispatcher,
    Tool,
    ToolCall,
    ToolDispatcher,
    enhance_tool_dispatcher_with_notifications,
)
from agents.tracker import AgentExecutionTracker
from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, require_paired, types_of
from netra.testing.server import ROOT, RunningNetra

pytestmark = pytest.mark.mission_critical

_P = AgentExecutionPhase
ENDLESS = {"tool": "sleep", "arguments": {"seconds": 60}}
ONE_TOOL = ({"tool": "echo", "arguments": {"word": "hello"}}, {"return": "done"})
NINE_TRANSITIONS = [
    "created",
    "websocket_setup",
    "context_validation",
    "starting",
    "thinking",
    "tool_preparation",
    "tool_execution",
    "result_processing",
    "completing",
    "completed",
]


# — units


class Recorder:
    """A notifier that keeps the tool events that it is told, as the wire would have them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def notify_tool_executing(self, tool_call_id: str, tool_name: str, arguments: Mapping[str, Any]) -> None:
        self.events.append({"type": "tool_executing", "data": {"tool_call_id": tool_call_id}})

    async def notify_tool_completed(
        self, tool_call_id: str, *, status: ToolStatus, result: object = None, error: Problem | None = None
    ) -> None:
        json.dumps(result)  # raises TypeError for what is not JSON, as the notifier does
        code = error.code if error is not None else None
        data = {"tool_call_id": tool_call_id, "status": status, "code": code}
        self.events.append({"type": "tool_completed", "data": data})


async def succeed() -> str:
    return "done"


async def refuse() -> None:
    raise ToolError("no_data", "There is no data.")


async def crash() -> None:
    raise ZeroDivisionError


async def hang() -> None:
    await asyncio.Event().wait()


async def give_up() -> None:
    raise asyncio.CancelledError


async def answer_no_json() -> object:
    return {"an object": object()}


async def need(number: int) -> int:
    return number


def call_of(function: Any, notifier: Recorder, timeout: float = 5.0) -> ToolCall:
    return ToolCall(
        tool_call_id=new_id(Prefix.TOOL_CALL),
        tool_name=getattr(function, "__name__", "nothing"),
        tool=Tool(function) if function is not None else None,
        owner=None,
        arguments={},
        timeout=timeout,
        notifier=cast("RunNotifier", notifier),  # as much of one as dispatchers use
    )


class TestToolDispatcher:
    @pytest.mark.parametrize(
        ("function", "status", "code"),
        [
            (succeed, "success", None),
            (refuse, "error", "no_data"),
            (crash, "error", "tool_failed"),
            (answer_no_json, "error", "invalid_result"),
            (need, "error", "invalid_arguments"),
            (None, "error", "unknown_tool"),
        ],
    )
    async def test_a_call_is_told_from_beginning_to_end(self, function: Any, status: str, code: str | None):
        recorder = Recorder()
        outcome = await asyncio.gather(
            enhance_tool_dispatcher_with_notifications(ToolDispatcher()).dispatch(call_of(function, recorder)),
            return_exceptions=True,
        )

        require_paired(recorder.events)
        assert types_of(recorder.events) == ["tool_executing", "tool_completed"]
        assert (recorder.events[1]["data"]["status"], recorder.events[1]["data"]["code"]) == (status, code)
        assert isinstance(outcome[0], ToolError) is (status == "error")

    async def test_a_call_that_takes_too_long_is_told(self):
        recorder = Recorder()
        dispatcher = enhance_tool_dispatcher_with_notifications(ToolDispatcher())

        with pytest.raises(ToolError, match="longer than 0.01 s"):
            await dispatcher.dispatch(call_of(hang, recorder, timeout=0.01))
        assert recorder.events[1]["data"]["status"] == "timed_out"

    async def test_a_cancelled_call_is_told_and_stays_cancelled(self):
        recorder = Recorder()
        dispatcher = enhance_tool_dispatcher_with_notifications(ToolDispatcher())

        with pytest.raises(asyncio.CancelledError):
            await dispatcher.dispatch(call_of(give_up, recorder))
        assert recorder.events[1]["data"]["status"] == "cancelled"

    async def test_parallel_calls_are_told_each_by_its_own_id(self):
        recorder = Recorder()
        dispatcher = enhance_tool_dispatcher_with_notifications(ToolDispatcher())
        functions = [succeed, refuse, crash, succeed, answer_no_json] * 10

        await asyncio.gather(
            *(dispatcher.dispatch(call_of(function, recorder)) for function in functions), return_exceptions=True
        )

        require_paired(recorder.events)
        assert types_of(recorder.events).count("tool_completed") == len(functions)


def build_claim() -> Claim:
    now = datetime.now(UTC)
    run = Run(
        pk=1,
        run_id=new_id(Prefix.RUN),
        thread_id=new_id(Prefix.THREAD),
        parent_run_id=None,
        user_id=1,
        agent_name="scripted",
        request=RunRequest(agent="scripted", message="Go."),
        correlation_id=new_id(Prefix.CORRELATION),
        tier="free",
        timeout=40,
        attempt=1,
        created_at=now,
    )
    state = RunState(phase=_P.CREATED, last_seq=0, phase_count=0, phase_entered_at=now, last_progress_at=now)
    deadline = now + timedelta(seconds=40)
    return Claim(run=run, tries=1, state=state, restartable=False, cancel_requested=False, deadline_at=deadline)


class TestTracker:
    """Refusals only: nothing of them may reach the database, which these tests do not have."""

    @pytest.fixture
    def tracker(self) -> AgentExecutionTracker:
        return AgentExecutionTracker(Journal(publish=lambda batches: None))

    @pytest.mark.parametrize(
        ("phase", "refusal"),
        [
            (_P.TOOL_PREPARATION, IllegalTransition),
            (_P.COMPLETING, IllegalTransition),
            (_P.THINKING, IllegalEvent),
            (_P.COMPLETED, IllegalEvent),
            ("websocket_setup", TypeError),
        ],
    )
    async def test_an_illegal_step_raises_and_changes_nothing(
        self, tracker: AgentExecutionTracker, phase: Any, refusal: type[Exception]
    ):
        claim = build_claim()
        tracker.start_execution(claim)

        with pytest.raises(refusal):
            await tracker.update_execution_state(claim.run.run_id, phase)
        assert tracker.get_state(claim.run.run_id) == claim.state

    async def test_an_unknown_run_raises(self, tracker: AgentExecutionTracker):
        with pytest.raises(UnknownExecution):
            await tracker.update_execution_state(new_id(Prefix.RUN), _P.WEBSOCKET_SETUP)

    def test_a_wrong_type_raises(self, tracker: AgentExecutionTracker):
        with pytest.raises(TypeError, match="takes a Claim, not dict"):
            tracker.start_execution({"run_id": "run_1"})  # type: ignore[arg-type]

    def test_nothing_leads_out_of_a_terminal_phase(self):
        assert all(not TRANSITIONS[phase] for phase in TERMINAL)


# — integration: the run's record says what the wire said


class TestRecord:
    def test_a_run_with_one_tool_walks_the_nine_transitions(self, chat: Chat, netra: RunningNetra):
        events = chat.run(*ONE_TOOL)

        history = netra.transitions(events[0]["run_id"])
        assert [step["from_phase"] for step in history] == NINE_TRANSITIONS[:-1]
        assert [step["to_phase"] for step in history] == NINE_TRANSITIONS[1:]
        assert [step["ordinal"] for step in history] == list(range(1, 10))
        assert all(step["duration_ms"] >= 0 for step in history)
        assert [step["at"] for step in history] == sorted(step["at"] for step in history)
        by_seq = {event["seq"]: event["type"] for event in events}
        assert [by_seq[step["event_seq"]] for step in history if step["event_seq"]] == [
            "agent_started",
            "agent_thinking",
            "tool_executing",
            "agent_completed",
        ]

    def test_the_completion_says_what_the_record_says(self, chat: Chat, netra: RunningNetra):
        events = chat.run(*ONE_TOOL)

        row, end = netra.run_row(events[0]["run_id"]), events[-1]["data"]
        assert end["result"] == json.loads(row["result"])
        assert end["result"] | {"total_duration_ms": 0} == {
            "success": True,
            "output": "done",
            "total_duration_ms": 0,
            "phase_count": 9,
            "warnings": [],
            "metadata": {
                "correlation_id": row["correlation_id"],
                "run_id": row["run_id"],
                "timeout": 40.0,
                "tier": "free",
                "streaming": True,
            },
        }
        assert end["result"]["total_duration_ms"] >= end["execution_time_ms"] > 0
        assert (row["status"], row["completed_seq"], row["last_seq"]) == ("completed", len(events), len(events))

    @pytest.mark.parametrize(
        ("steps", "fields", "status", "code"),
        [
            ([{"think": "Hm."}, {"return": None}], {}, "completed", None),
            ([{"tool": "fail"}], {}, "failed", "tool_failed"),
            ([{"raise": "a bug"}], {}, "failed", "internal"),
            ([{"dance": 1}], {}, "failed", "bad_script"),
            ([{"sleep": 60}], {"timeout": 0.05}, "timed_out", "timed_out"),
            ([ENDLESS], {"timeout": 0.05}, "timed_out", "timed_out"),
        ],
    )
    def test_however_a_run_ends_its_user_is_told(
        self,
        chat: Chat,
        netra: RunningNetra,
        steps: list[dict[str, Any]],
        fields: dict[str, Any],
        status: str,
        code: str | None,
    ):
        events = chat.run(*steps, **fields)

        require_lawful(events)
        end, row = events[-1]["data"], netra.run_row(events[0]["run_id"])
        assert (end["status"], (end["error"] or {}).get("code")) == (status, code)
        assert end["result"]["success"] is (status == "completed")
        assert (row["status"], row["phase"], row["error_code"]) == (status, status, code or "")
        assert netra.logged(row["run_id"]) == events

    def test_a_cancelled_run_keeps_what_it_had_said(self, chat: Chat, netra: RunningNetra):
        run_id = chat.start_run({"stream": "Half an answer"}, ENDLESS)["run_id"]
        chat.wait_for(run_id, "tool_executing")

        chat.send(type="cancel_run", run_id=run_id)
        events = chat.finish(run_id)

        require_lawful(events)
        assert events[-2]["data"]["status"] == "cancelled"
        end = events[-1]["data"]
        assert (end["status"], end["result"]["success"], end["result"]["output"]) == (
            "cancelled",
            False,
            "Half an answer",
        )
        assert netra.run_row(run_id)["status"] == "cancelled"


# — end to end


class TestEndToEnd:
    def test_the_analyst_answers_a_real_question(self, chat: Chat):
        accepted = chat.ask(
            type="start_agent",
            request_id="a-real-question",
            agent="analyst",
            message="What is the total revenue?\n\nregion,revenue\nNorth,120\nSouth,80\nEast,55\n",
        )

        events = chat.finish(accepted["run_id"])

        require_lawful(events)
        end = events[-1]["data"]
        assert end["status"] == "completed", end
        assert "255" in end["result"]["output"]
        told = "".join(event["data"]["delta"] for event in events if event["type"] == "partial_result")
        assert told == end["result"]["output"]
        assert types_of(events).count("tool_executing") >= 3

    def test_two_tabs_see_the_same(self, chat: Chat, netra: RunningNetra):
        with netra.connect() as other:
            events = chat.run({"think": "For both."}, *ONE_TOOL)

            assert other.finish(events[0]["run_id"]) == events

    def test_who_comes_later_reads_it_all(self, chat: Chat, netra: RunningNetra):
        events = chat.run(*ONE_TOOL)
        run_id = events[0]["run_id"]

        with netra.connect() as late:
            assert late.resume(**{run_id: 0})[:-1] == events
            assert late.resume(**{run_id: 3})[:-1] == events[3:]

    def test_events_come_while_the_run_goes_on(self, chat: Chat, netra: RunningNetra):
        run_id = chat.start_run(*ONE_TOOL[:1], ENDLESS)["run_id"]
        chat.wait_for(run_id, "tool_completed")

        assert netra.run_row(run_id)["status"] == "running"
        chat.send(type="cancel_run", run_id=run_id)
        require_lawful(chat.finish(run_id))


# — what broke before, here or elsewhere


class TestRegressionPrevention:
    def test_the_dispatcher_is_always_enhanced(self, chat: Chat):
        assert type(AgentRegistry().get_user_session(1).tool_dispatcher) is NotifyingToolDispatcher
        assert {"tool_executing", "tool_completed"} <= set(types_of(chat.run(*ONE_TOOL)))

    def test_events_are_not_skipped_on_errors(self, chat: Chat):
        events = chat.run({"tool": "fail", "catch": True}, {"think": "On."}, {"tool": "fail"})

        require_lawful(events)
        assert types_of(events) == [
            "agent_started",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "agent_completed",
        ]
        assert [e["data"]["status"] for e in events if e["type"] == "tool_completed"] == ["error", "error"]
        assert events[-1]["data"]["status"] == "failed"

    @pytest.mark.parametrize(
        ("step", "timeout"),
        [
            ({"tool": "echo", "catch": True}, None),
            ({"tool": "fail", "catch": True}, None),
            ({"tool": "sleep", "arguments": {"seconds": "long"}, "catch": True}, None),
            (ENDLESS, 0.2),
            ({"tool": "dig", "catch": True}, None),
            ({"parallel": [{"tool": "echo"}, {"tool": "fail"}, ENDLESS]}, None),
        ],
    )
    def test_tool_events_are_always_paired(self, chat: Chat, step: dict[str, Any], timeout: float | None):
        events = chat.run(step, timeout=timeout)

        require_lawful(events)
        types = types_of(events)
        assert types.count("tool_completed") == types.count("tool_executing")
        if timeout is None:  # else its time may be over before the tool begins
            assert types.count("tool_completed") == len(step.get("parallel", [step]))

    @pytest.mark.parametrize(
        ("step", "timeout"),
        [({"return": 1}, None), ({"raise": "a bug"}, None), ({"tool": "fail"}, None), ({"sleep": 60}, 0.05)],
    )
    def test_a_run_is_completed_exactly_once(
        self, chat: Chat, netra: RunningNetra, step: dict[str, Any], timeout: float | None
    ):
        first = chat.run(step, timeout=timeout)
        chat.ask(type="cancel_run", run_id=first[0]["run_id"])
        chat.run({"think": "Something later."})

        events = chat.events(first[0]["run_id"])
        require_lawful(events)
        assert netra.logged(first[0]["run_id"]) == events

    def test_a_race_of_cancel_and_end_completes_once(self, chat: Chat, netra: RunningNetra):
        run_ids = [chat.start_run({"tool": "echo"}, {"think": "Nearly."})["run_id"] for _ in range(10)]
        for run_id in run_ids:
            chat.send(type="cancel_run", run_id=run_id)
        for run_id in run_ids:
            require_lawful(chat.finish(run_id))
            assert netra.logged(run_id) == chat.events(run_id)

    def test_the_manager_reaches_every_session(self):
        registry = AgentRegistry()
        early = registry.get_user_session(1)
        manager: Any = object()

        registry.set_websocket_manager(manager)

        assert {early.manager, registry.get_user_session(2).manager} == {manager}

    def test_the_run_id_is_not_the_thread_id(self, chat: Chat, netra: RunningNetra):
        accepted = chat.start_run({"return": 1})
        events = chat.finish(accepted["run_id"])

        assert is_id(accepted["run_id"], Prefix.RUN)
        assert is_id(accepted["thread_id"], Prefix.THREAD)
        assert events[-1]["data"]["result"]["metadata"]["run_id"] == accepted["run_id"]
        assert {(e["run_id"], e["thread_id"]) for e in events} == {(accepted["run_id"], accepted["thread_id"])}
        answers = [chat.ask(type="cancel_run", run_id=accepted["thread_id"]), chat.start_agent(thread_id="run_1")]
        assert [answer["code"] for answer in answers] == ["not_found", "not_found"]

    def test_the_first_message_after_connecting_is_answered(self, netra: RunningNetra):
        for number in range(10):
            with netra.connect(wait=False) as chat:
                chat.send(type="ping", id=f"first {number}")
                assert chat.receive()["type"] == "connection_established"
                assert chat.receive_until("pong")["id"] == f"first {number}"
        with netra.connect(wait=False) as chat:
            assert chat.start_agent(*ONE_TOOL)["type"] == "connection_established"
            require_lawful(chat.finish(chat.answer()["run_id"]))

    def test_no_event_comes_by_two_paths(self, netra: RunningNetra):
        """Live publication and another socket's replays go on at the same time."""
        with netra.connect() as watching, netra.connect() as replaying:
            run_id = watching.start_run({"emit": 200, "rate": 1000}, {"stream": "The end.", "chunks": 2})["run_id"]
            for _ in range(5):
                replaying.wait_for(run_id, "agent_thinking")
                replaying.resume(**{run_id: 0})
            watching.finish(run_id)
            watching.run({"think": "Something later."})

            require_lawful(watching.events(run_id))
            assert watching.events(run_id) == netra.logged(run_id)


# — the suite itself: a broken Netra turns it red

PLANTS = [
    (
        "notifications/notifier.py",
        """
whole = WebSocketNotifier.notify_tool_completed

async def broken(self, tool_call_id, *, status, result=None, error=None):
    if status == "success":
        await whole(self, tool_call_id, status=status, result=result, error=error)

WebSocketNotifier.notify_tool_completed = broken
""",
        "test_events_are_not_skipped_on_errors",
    ),
    (
        "agents/tools.py",
        """
async def broken(self, call):
    return await self.plain.dispatch(call)

NotifyingToolDispatcher.dispatch = broken
""",
        "test_the_dispatcher_is_always_enhanced",
    ),
    (
        "notifications/session.py",
        """
whole = DeliverySession.receive

def broken(self, run_id, first_seq, texts):
    whole(self, run_id, first_seq, texts)
    self._place_of(run_id).sent = max(0, self._place_of(run_id).sent - 1)

DeliverySession.receive = broken
""",
        "test_no_event_comes_by_two_paths",
    ),
]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(("file", "plant", "caught_by"), PLANTS)
def test_a_broken_netra_turns_the_suite_red(tmp_path: Path, file: str, plant: str, caught_by: str):
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))
    with (tree / file).open("a") as source:
        source.write(plant)

    suite = "tests/mission_critical"
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "--tb=no",
                "-p",
                "no:cacheprovider",
                f"{suite}/test_final_validation.py",
            ),
            f"{suite}/test_websocket_agent_events_suite.py::TestRegressionPrevention",
        ],
        cwd=tree,
        env=os.environ | {"NETRA_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    red = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert any(caught_by in line for line in red), done.stdout
    assert " passed" in done.stdout  # it is red for the plant, not because nothing works in the copy
