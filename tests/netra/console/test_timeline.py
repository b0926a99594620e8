from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from netra.console.timeline import Call, Step, Story, Timeline, calls_of, draw

START = datetime(2026, 11, 21, 9, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def story(**changes) -> Story:
    plain = {"created_at": START, "ended_at": after(10), "now": after(60), "steps": [], "heard": [], "calls": []}
    return Story(**{**plain, "recoveries": [], **changes})


def lane(timeline: Timeline, name: str) -> list[tuple[float, float]]:
    return [(bar.left, bar.width) for each in timeline.lanes if each.name == name for bar in each.bars]


def test_each_phase_is_a_bar_from_its_beginning_to_the_next():
    steps = [Step("starting", after(1)), Step("thinking", after(2)), Step("tool_execution", after(4))]
    steps += [Step("thinking", after(8)), Step("completed", after(10))]

    drawn = draw(story(steps=steps))

    assert lane(drawn, "Queued") == [(0, 10)]
    assert lane(drawn, "Set-up") == [(10, 10)]
    assert lane(drawn, "Thinking") == [(20, 20), (80, 20)]
    assert lane(drawn, "Tools") == [(40, 40)]
    assert drawn.words == "10 s from its start to its end"


def test_a_live_run_goes_on_until_now():
    drawn = draw(
        story(ended_at=None, steps=[Step("thinking", after(30))], calls=[Call(name="look", began_at=after(45))])
    )

    assert lane(drawn, "Thinking") == [(50, 50)]
    assert lane(drawn, "look") == [(75, 25)]
    assert "now" in drawn.words


def test_calls_of_a_tool_share_a_lane_and_are_coloured_by_their_end():
    told = [
        ("tool_executing", after(1), {"tool_call_id": "a", "tool_name": "look"}),
        ("tool_executing", after(2), {"tool_call_id": "b", "tool_name": "look"}),
        ("tool_completed", after(3), {"tool_call_id": "b", "status": "error"}),
        ("tool_completed", after(4), {"tool_call_id": "unheard of", "status": "success"}),
    ]

    drawn = draw(story(calls=calls_of(told)))

    assert lane(drawn, "look") == [(10, 90), (20, 10)]
    assert [bar.kind for bar in drawn.lanes[-2].bars] == ["call-running", "call-error"]


def test_too_many_tools_share_the_last_lane():
    calls = [Call(name=f"tool {number}", began_at=after(1), ended_at=after(2)) for number in range(40)]

    drawn = draw(story(calls=calls, heard=[after(second) for second in range(10)]))

    assert len(lane(drawn, "other tools")) == 28
    assert len([each for each in drawn.lanes if "tool" in each.name]) == 13


def test_silence_is_where_no_event_came_for_long():
    drawn = draw(story(heard=[after(0.5), after(1), after(7), after(9.5)]))

    assert lane(drawn, "Silence") == [(10, 60), (70, 25)]


def test_attempts_are_drawn_once_there_are_several():
    assert lane(draw(story()), "Attempts") == []
    assert lane(draw(story(recoveries=[(2, after(6))])), "Attempts") == [(0, 60), (60, 40)]


def test_what_was_not_read_is_said_on_every_lane_and_no_bar_runs_through_it():
    steps = [Step("thinking", after(1)), Step("llm_interaction", after(9))]

    drawn = draw(story(steps=steps, heard=[after(1), after(9)], unread=(after(1), after(9))))

    assert all(each.bars[-1].kind == "unread" for each in drawn.lanes)
    assert lane(drawn, "Thinking") == []
    assert lane(drawn, "Silence") == []


@given(
    seconds=st.floats(0, 1e7),
    moments=st.lists(st.floats(0, 1e7), max_size=20),
    unread=st.none() | st.tuples(st.floats(0, 1e7), st.floats(0, 1e7)),
)
def test_every_bar_lies_on_the_chart_and_there_are_a_few_moments_on_its_axis(seconds, moments, unread):
    times = [after(moment) for moment in sorted(moments)]
    steps = [Step(("thinking", "tool_execution")[number % 2], at) for number, at in enumerate(times)]
    calls = [Call(name="look", began_at=at) for at in times]
    between = None if unread is None else (after(min(unread)), after(max(unread)))

    drawn = draw(story(ended_at=after(seconds), steps=steps, calls=calls, heard=times, unread=between))

    for each in drawn.lanes:
        for bar in each.bars:
            assert 0 <= bar.left <= bar.left + bar.width <= 100.001
    assert 1 <= len(drawn.ticks) <= 9
    assert all(0 <= tick.left <= 100 for tick in drawn.ticks)
