"""Each law holds for a run as it should be, and says what is broken in one that is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from netra.testing import laws

Events = list[dict[str, Any]]

PHASES = "created websocket_setup context_validation starting thinking tool_preparation tool_execution thinking"
TOLD_BY = [None, None, 1, 2, None, 3, 5]


def event(seq: int, type_: str, **data: Any) -> dict[str, Any]:
    names = {"run_id": "run_1", "thread_id": "thread_1", "agent_name": "scripted"}
    return {"type": type_, "seq": seq, **names, "data": data}


def make_log() -> Events:
    return [
        event(1, "agent_started"),
        event(2, "agent_thinking"),
        event(3, "tool_executing", tool_call_id="call_1"),
        event(4, "tool_completed", tool_call_id="call_1"),
        event(5, "agent_thinking"),
        event(6, "agent_completed", status="failed"),
    ]


def numbered(*types: str) -> Events:
    """A run of these events; one tool call is begun and ended, however often."""
    return [event(seq, type_, tool_call_id="call_1", status="failed") for seq, type_ in enumerate(types, 1)]


def make_steps() -> Events:
    phases = PHASES.split()
    steps = zip([*phases], [*phases[1:], "failed"], [*TOLD_BY, 6], strict=True)
    return [
        {"ordinal": number, "from_phase": one, "to_phase": next_, "event_seq": seq}
        for number, (one, next_, seq) in enumerate(steps, 1)
    ]


def make_record(**changes: Any) -> dict[str, Any]:
    return {"last_seq": 6, "completed_seq": 6, "status": "failed", **changes}


def changed(rows: Events, place: int, **changes: Any) -> Events:
    return [row | changes if number == place else row for number, row in enumerate(rows, 1)]


def without(rows: Events, place: int) -> Events:
    return [row for number, row in enumerate(rows, 1) if number != place]


def require_broken(sentence: str, law: Callable[..., None], *about: Any) -> None:
    with pytest.raises(AssertionError, match=sentence):
        law(*about)


class TestEvents:
    def test_a_run_as_it_should_be_is_lawful(self):
        laws.require_lawful(make_log())

    def test_a_run_that_ended_before_it_started_is_lawful(self):
        laws.require_lawful([event(1, "agent_completed", status="cancelled")])

    def test_nothing_is_not_lawful(self):
        require_broken("Nothing came", laws.require_lawful, [])

    @pytest.mark.parametrize(
        ("events", "sentence"),
        [
            (without(make_log(), 2), "Event 2 of the run has the seq 3: tool_executing"),
            ([*make_log()[:2], *make_log()[1:]], "Event 3 of the run has the seq 2: agent_thinking"),
            ([*make_log()[1::-1], *make_log()[2:]], "Event 1 of the run has the seq 2"),
            (make_log()[1:], "Event 1 of the run has the seq 2"),
        ],
        ids=["lost", "doubled", "disordered", "late"],
    )
    def test_an_event_out_of_its_place(self, events: Events, sentence: str):
        require_broken(sentence, laws.require_gapless, events)
        require_broken(sentence, laws.require_lawful, events)

    @pytest.mark.parametrize("name", ["run_id", "thread_id", "agent_name"])
    def test_events_of_another_run(self, name: str):
        events = changed(make_log(), 4, **{name: "another"})

        require_broken("several runs, threads or agents: .*another", laws.require_one_run, events)
        require_broken("several runs, threads or agents", laws.require_lawful, events)

    @pytest.mark.parametrize(
        ("types", "sentence"),
        [
            (["agent_started", "agent_thinking"], "has 0 agent_completed, not one"),
            (["agent_started", "agent_completed", "agent_completed"], "has 2 agent_completed, not one"),
            (["agent_started", "agent_completed", "agent_thinking"], "After agent_completed came agent_thinking"),
        ],
        ids=["no end", "two ends", "life after the end"],
    )
    def test_an_end_that_is_not_one(self, types: Sequence[str], sentence: str):
        require_broken(sentence, laws.require_one_terminal, numbered(*types))
        require_broken(sentence, laws.require_lawful, numbered(*types))

    @pytest.mark.parametrize(
        ("types", "sentence"),
        [
            (["agent_thinking", "agent_completed"], "has 0 agent_started, not one"),
            (["agent_started", "agent_started", "agent_completed"], "has 2 agent_started, not one"),
            (["agent_thinking", "agent_started", "agent_completed"], "begins with agent_thinking"),
        ],
        ids=["no beginning", "two beginnings", "life before the beginning"],
    )
    def test_a_beginning_that_is_not_one(self, types: Sequence[str], sentence: str):
        require_broken(sentence, laws.require_one_beginning, numbered(*types))
        require_broken(sentence, laws.require_lawful, numbered(*types))

    @pytest.mark.parametrize(
        ("types", "sentence"),
        [
            (["tool_executing"], "Tool calls without an end: .'call_1'"),
            (["tool_completed"], "The tool call call_1 ends, but did not begin"),
            (["tool_completed", "tool_executing"], "ends, but did not begin"),
            (["tool_executing", "tool_executing", "tool_completed"], "The tool call call_1 begins twice"),
            (["tool_executing", "tool_completed", "tool_completed"], "The tool call call_1 ends twice"),
        ],
    )
    def test_tool_calls_that_are_no_pair(self, types: Sequence[str], sentence: str):
        whole = numbered("agent_started", *types, "agent_completed")

        require_broken(sentence, laws.require_paired, numbered(*types))
        require_broken(sentence, laws.require_lawful, whole)

    def test_parallel_tool_calls_are_told_apart(self):
        begun = [event(seq, "tool_executing", tool_call_id=f"call_{seq}") for seq in (1, 2)]

        laws.require_paired([*begun, *(event(seq, "tool_completed", tool_call_id=f"call_{seq}") for seq in (2, 1))])
        ends = event(3, "tool_completed", tool_call_id="call_2")
        require_broken("without an end: .'call_1'", laws.require_paired, [*begun, ends])

    @pytest.mark.parametrize(
        ("types", "sentence"),
        [
            (["approval_requested"], "Approvals without an end: .'approval_1'"),
            (["approval_resolved"], "approval_1 is resolved, but was not requested"),
            (["approval_requested", "approval_resolved", "approval_resolved"], "approval_1 is resolved twice"),
        ],
    )
    def test_approvals_that_are_no_pair(self, types: Sequence[str], sentence: str):
        events = [event(seq, type_, approval_id="approval_1") for seq, type_ in enumerate(types, 1)]

        require_broken(sentence, laws.require_answered, events)

    def test_an_approval_may_be_told_again(self):
        types = ["approval_requested", "approval_requested", "approval_resolved"]

        laws.require_answered([event(seq, type_, approval_id="a") for seq, type_ in enumerate(types, 1)])


class TestView:
    def test_a_view_that_is_the_log(self):
        laws.require_view_is_log(make_log(), make_log())

    @pytest.mark.parametrize(
        ("view", "sentence"),
        [
            (make_log()[:5], "The client took 5 events, the log has 6"),
            ([], "The client took 0 events, the log has 6"),
            ([*make_log(), event(7, "agent_completed")], "The client took event 7, .*; the log ends at 6"),
            (without(make_log(), 3), "Event 3 is .*tool_completed.* to the client and .*tool_executing.* in the log"),
            (changed(make_log(), 2, data={"reasoning": "else"}), "Event 2 is .*else.* to the client"),
        ],
        ids=["less", "nothing", "more", "a hole", "another content"],
    )
    def test_a_view_that_is_not(self, view: Events, sentence: str):
        require_broken(sentence, laws.require_view_is_log, view, make_log())

    def test_a_large_event_is_not_quoted_whole(self):
        with pytest.raises(AssertionError) as broken:
            laws.require_view_is_log([event(1, "partial_result", delta="a" * 100_000)], make_log())

        assert len(str(broken.value)) < 1000


class TestRecord:
    def test_a_record_that_says_what_the_log_says(self):
        laws.require_record_is_log(make_record(), make_log())

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"last_seq": 5}, "The record's last seq is 5, the log has 6 events"),
            ({"completed_seq": None}, "The record has agent_completed at None, the log has 6 events"),
            ({"status": "completed"}, "The record's status is completed, the last event says failed"),
        ],
    )
    def test_a_record_that_says_something_else(self, change: dict[str, Any], sentence: str):
        require_broken(sentence, laws.require_record_is_log, make_record(**change), make_log())

    def test_a_record_without_a_log(self):
        require_broken("the log has 0 events", laws.require_record_is_log, make_record(), [])


class TestPhases:
    def test_phases_as_they_should_be(self):
        laws.require_legal_phases(make_steps(), make_log())

    def test_a_run_under_way_is_legal_so_far(self):
        laws.require_legal_phases(make_steps()[:-1], make_log()[:-1])
        laws.require_legal_phases([], [])

    @pytest.mark.parametrize(
        ("steps", "sentence"),
        [
            (without(make_steps(), 2), "Step 2, context_validation to starting, has the ordinal 3"),
            (changed(make_steps(), 2, from_phase="created"), "Step 2, .* begins elsewhere: the run was in websocket"),
            (changed(make_steps(), 2, to_phase="thinking"), "Step 2, websocket_setup to thinking, is illegal"),
            (changed(make_steps(), 4, event_seq=None), "Step 4, .* is told by None, not by agent_thinking"),
            (changed(make_steps(), 4, event_seq=3), "Step 4, .* is told by tool_executing, not by agent_thinking"),
            (changed(make_steps(), 1, event_seq=1), "Step 1, .* is told by agent_started, not by None"),
            (changed(make_steps(), 4, event_seq=7), "Step 4, .* is told by event 7 of 6"),
            (changed(make_steps(), 8, to_phase="lost"), "end in lost, the events with agent_completed, failed"),
            (make_steps()[:-1], "The phases end in thinking, the events with agent_completed, failed"),
        ],
    )
    def test_a_step_that_is_not_allowed(self, steps: Events, sentence: str):
        require_broken(sentence, laws.require_legal_phases, steps, make_log())

    def test_an_end_that_no_event_tells(self):
        require_broken("Step 8, .* is told by event 6 of 5", laws.require_legal_phases, make_steps(), make_log()[:-1])

    def test_an_end_that_is_not_the_last_event(self):
        log = [*make_log(), event(7, "agent_thinking")]

        require_broken(
            "end in failed, the events without agent_completed", laws.require_legal_phases, make_steps(), log
        )

    def test_nothing_goes_on_after_the_end(self):
        more = {"ordinal": 9, "from_phase": "failed", "to_phase": "thinking", "event_seq": 5}

        require_broken(
            "Step 9, failed to thinking, is illegal", laws.require_legal_phases, [*make_steps(), more], make_log()
        )
