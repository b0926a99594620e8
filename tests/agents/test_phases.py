import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import IllegalTransition
from agents.phases import (
    ENTRY_EVENT,
    TERMINAL,
    TRANSITIONS,
    AgentExecutionPhase,
    Status,
    diagram,
    is_terminal,
    require_transition,
    status_of,
)

# design.md, "Phases and the events they emit", typed out by hand.
DESIGN = {
    "created": ("", "websocket_setup"),
    "websocket_setup": ("", "context_validation"),
    "context_validation": ("", "starting"),
    "starting": ("agent_started", "thinking"),
    "thinking": ("agent_thinking", "tool_preparation llm_interaction result_processing awaiting_approval"),
    "tool_preparation": ("", "tool_execution thinking awaiting_approval"),
    "tool_execution": (
        "tool_executing",
        "tool_preparation thinking llm_interaction result_processing awaiting_approval",
    ),
    "llm_interaction": ("", "thinking tool_preparation tool_execution result_processing awaiting_approval"),
    "awaiting_approval": ("approval_requested", "thinking tool_preparation tool_execution result_processing"),
    "result_processing": ("", "thinking completing"),
    "completing": ("", "completed"),
    "completed": ("agent_completed", ""),
    "failed": ("agent_completed", ""),
    "timed_out": ("agent_completed", ""),
    "cancelled": ("agent_completed", ""),
    "lost": ("agent_completed", ""),
}
ENDS = {"completed", "failed", "timed_out", "cancelled", "lost"}
BROKEN_OFF = {"failed", "timed_out", "cancelled", "lost"}
ONE_TOOL = (
    "created websocket_setup context_validation starting thinking tool_preparation tool_execution"
    " result_processing completing completed"
).split()

LEGAL = {
    (phase, target)
    for phase, (_, forward) in DESIGN.items()
    for target in {*forward.split(), *(() if phase in ENDS else BROKEN_OFF)}
}


def test_the_phases_are_those_of_the_design():
    assert {phase.value for phase in AgentExecutionPhase} == set(DESIGN)


@pytest.mark.parametrize(
    ("current", "target"), [(a, b) for a, b in itertools.product(DESIGN, repeat=2) if (a, b) in LEGAL]
)
def test_a_transition_that_the_design_lists_is_allowed(current, target):
    require_transition(AgentExecutionPhase(current), AgentExecutionPhase(target))


@pytest.mark.parametrize(
    ("current", "target"), [(a, b) for a, b in itertools.product(DESIGN, repeat=2) if (a, b) not in LEGAL]
)
def test_a_transition_that_the_design_does_not_list_raises_and_says_which(current, target):
    with pytest.raises(IllegalTransition, match=f"phase {current} cannot go to {target}") as raised:
        require_transition(AgentExecutionPhase(current), AgentExecutionPhase(target))

    assert (raised.value.current, raised.value.target) == (current, target)


def test_staying_in_a_phase_is_no_transition():
    assert not any(phase in targets for phase, targets in TRANSITIONS.items())


@pytest.mark.parametrize("phase", AgentExecutionPhase)
def test_a_phase_is_entered_with_the_event_of_the_design(phase):
    assert ENTRY_EVENT.get(phase, "") == DESIGN[phase.value][0]


def test_a_run_with_one_tool_has_nine_legal_steps():
    steps = list(itertools.pairwise(ONE_TOOL))

    assert len(steps) == 9
    for current, target in steps:
        require_transition(AgentExecutionPhase(current), AgentExecutionPhase(target))


@pytest.mark.parametrize("phase", AgentExecutionPhase)
def test_status_follows_from_phase(phase):
    expected = phase.value if phase.value in ENDS else "pending" if phase.value == "created" else "running"

    assert status_of(phase) == Status(expected)
    assert is_terminal(phase) == (phase.value in ENDS)


@given(st.data())
def test_every_walk_ends_once_and_never_leaves_its_end(data):
    phase, walked = AgentExecutionPhase.CREATED, 0
    while not is_terminal(phase) and walked < 60:
        phase = data.draw(st.sampled_from(sorted(TRANSITIONS[phase])))
        walked += 1

    if is_terminal(phase):
        for target in AgentExecutionPhase:
            with pytest.raises(IllegalTransition):
                require_transition(phase, target)


@given(st.sampled_from([phase for phase in AgentExecutionPhase if phase not in TERMINAL]))
def test_from_every_live_phase_each_broken_end_is_one_step_away(phase):
    for end in BROKEN_OFF:
        require_transition(phase, AgentExecutionPhase(end))


@given(st.sampled_from([phase for phase in AgentExecutionPhase if phase not in TERMINAL]))
def test_from_every_live_phase_success_can_be_reached(phase):
    reached, grown = {phase}, True
    while grown:
        more = reached | {target for one in reached for target in TRANSITIONS[one]}
        grown, reached = more != reached, more

    assert AgentExecutionPhase.COMPLETED in reached


def test_the_diagram_draws_every_forward_transition_and_no_other():
    drawn = {tuple(line.split(" --> ")) for line in map(str.strip, diagram().splitlines()) if " --> " in line}

    forward = {(phase, target) for phase, (_, targets) in DESIGN.items() for target in targets.split()}
    assert drawn == forward | {("[*]", "created")} | {(end, "[*]") for end in ENDS}
