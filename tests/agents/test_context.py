import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.context import COALESCE_CHARACTERS, MAX_WARNINGS
from agents.database import in_database
from agents.tools import tool
from tests.runs import Workshop, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def partials(log):
    return [frame["data"] for frame in log if frame["type"] == "partial_result"]


def types(log):
    return [frame["type"] for frame in log]


async def test_short_texts_in_a_row_share_an_event_and_join_to_the_answer(workshop):
    text = "".join(f"word {number} " for number in range(300))

    async def execute(context):
        async with context.stream() as stream:
            for word in text.split(" "):
                await stream.write(word)
                await stream.write(" ")
        return "done"

    parts = partials(await workshop.run(execute, streaming=True))

    assert "".join(part["delta"] for part in parts) == text + " "
    assert len(parts) < 30
    assert len({part["message_id"] for part in parts}) == 1
    assert [part["is_complete"] for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_text_is_shown_while_it_is_written(workshop):
    shown = []

    async def execute(context):
        async with context.stream() as stream:
            await stream.write("first")
            await asyncio.sleep(0.2)
            shown.extend(workshop.bridge.frames(context.run_id))
            await stream.write("second")

    await workshop.run(execute)

    assert [part["delta"] for part in partials(shown)] == ["first"]


async def test_much_text_goes_out_at_once(workshop):
    async def execute(context):
        async with context.stream() as stream:
            for _ in range(5):
                await stream.write("x" * COALESCE_CHARACTERS)

    parts = partials(await workshop.run(execute))

    assert [len(part["delta"]) for part in parts[:5]] == [COALESCE_CHARACTERS] * 5


async def test_a_huge_text_is_split_into_frames_that_join_to_it(workshop):
    text = "é" * 300_000

    async def execute(context):
        async with context.stream() as stream:
            await stream.write(text)

    assert "".join(part["delta"] for part in partials(await workshop.run(execute))) == text


async def test_what_a_stream_holds_goes_out_before_the_next_thought_or_tool(workshop):
    async def echo(text: str) -> str:
        return text

    async def execute(context):
        async with context.stream() as stream:
            await stream.write("a")
            await context.think("b")
            await stream.write("c")
            await context.tools.call("echo", text="d")
            await stream.write("e")

    log = await workshop.run(execute, tools=[echo])

    assert types(log)[2:] == [
        "partial_result",
        "agent_thinking",
        "partial_result",
        "tool_executing",
        "tool_completed",
        "partial_result",
        "agent_completed",
    ]
    assert [part["delta"] for part in partials(log)] == ["a", "c", "e"]


async def test_an_empty_stream_is_one_complete_event(workshop):
    async def execute(context):
        async with context.stream() as stream:
            await stream.write("")

    assert [(part["delta"], part["is_complete"]) for part in partials(await workshop.run(execute))] == [("", True)]


async def test_two_streams_are_two_messages(workshop):
    async def execute(context):
        for text in "ab":
            async with context.stream() as stream:
                await stream.write(text)

    parts = partials(await workshop.run(execute))

    assert "".join(part["delta"] for part in parts) == "ab"
    assert len({part["message_id"] for part in parts}) == 2


async def test_a_stream_takes_text_only(workshop):
    async def execute(context):
        async with context.stream() as stream:
            with pytest.raises(TypeError, match="takes str, not int"):
                await stream.write(1)
        return "done"

    assert (await workshop.run(execute))[-1]["data"]["status"] == "completed"


async def test_no_task_of_a_run_outlives_it(workshop):
    async def execute(context):
        async with context.stream() as stream:
            await stream.write("x")
            await asyncio.sleep(60)

    log = await workshop.run(execute, timeout=1.0)
    await asyncio.sleep(0)

    assert not [task for task in asyncio.all_tasks() if log[0]["run_id"] in task.get_name()]


async def test_thoughts_are_numbered_and_may_tell_how_far_they_are(workshop):
    async def execute(context):
        await context.think("One.", total_steps=2, progress_percentage=50.0)

    log = await workshop.run(execute)

    assert log[2]["data"] == {"reasoning": "One.", "step_number": 2, "total_steps": 2, "progress_percentage": 50.0}


async def test_warnings_come_with_the_completion_and_are_bounded(workshop):
    async def execute(context):
        for number in range(MAX_WARNINGS + 10):
            context.warn(f"{number} " + "x" * 1_000)

    warnings = (await workshop.run(execute))[-1]["data"]["result"]["warnings"]

    assert len(warnings) == MAX_WARNINGS
    assert warnings[0].startswith("0 x")
    assert max(map(len, warnings)) <= 500


async def test_an_agent_knows_its_run_and_holds_nothing_that_sends_lifecycle_events(workshop):
    seen = {}

    async def execute(context):
        seen.update(vars(context))

    workshop.add_agent(execute)
    claim = await workshop.claim(params={"a": 1})
    await workshop.execute(claim)

    assert (seen["run_id"], seen["thread_id"]) == (claim.run.run_id, claim.run.thread_id)
    assert (seen["user_id"], seen["attempt"], seen["timeout"]) == (claim.run.user_id, 1, 40.0)
    assert seen["request"].params == {"a": 1}


async def test_history_is_what_was_said_in_the_thread_before_by_its_user(workshop):
    async def execute(context):
        if context.request.message == "Tell.":
            return [[turn.message, turn.answer] for turn in await context.history(12)]
        return f"re {context.request.message}" if context.request.message != "n" else 5

    workshop.add_agent(execute)
    ada = await in_database(make_user)
    first = await workshop.claim(ada, message="too long for it")
    thread = first.run.thread_id
    await workshop.execute(first)
    for message in ("a", "n", "b"):
        await workshop.execute(await workshop.claim(ada, message=message, thread_id=thread))
    await workshop.execute(await workshop.claim(ada, message="elsewhere"))

    log = await workshop.execute(await workshop.claim(ada, message="Tell.", thread_id=thread))

    assert log[-1]["data"]["result"]["output"] == [["a", "re a"], ["n", ""], ["b", "re b"]]


async def test_progress_is_of_the_agent_or_in_a_tool_of_the_call(workshop):
    class Agent:
        @tool
        async def count(self) -> int:
            await self.context.progress("Half way.", percentage=50)
            return 1

        async def execute(self, context):
            self.context = context
            await context.progress("Beginning.", percentage=0)
            await context.tools.call("count")
            await context.progress("Done.")

    workshop.registry.register_agent_safely("test", Agent)
    log = await workshop.execute(await workshop.claim())

    assert types(log)[2:-1] == [
        "agent_thinking",
        "tool_executing",
        "tool_progress",
        "tool_completed",
        "agent_thinking",
    ]
    told = log[4]["data"]
    assert (told["message"], told["progress_percentage"]) == ("Half way.", 50)
    assert told["tool_call_id"] == log[3]["data"]["tool_call_id"]
    assert log[2]["data"]["progress_percentage"] == 0


async def test_a_thread_of_the_agents_own_sees_that_the_run_was_told_to_stop(workshop):
    seen = []

    async def execute(context):
        seen.append(context.cancelled)
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(context.cancelled)

    await workshop.run(execute, timeout=1.5)

    assert seen == [False, True]


async def speak(context, stream, step) -> str:
    """Does one step and returns what it adds to the answer."""
    match step:
        case None:
            await stream.flush()
        case "think":
            await context.think("Hm.")
        case "tool":
            await context.tools.call("nothing")
        case "wait":
            await asyncio.sleep(0.04)
        case text:
            await stream.write(text)
            return str(text.encode("utf-8", "replace").decode())
    return ""


@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.just("x" * COALESCE_CHARACTERS),
            st.sampled_from([None, "think", "tool", "wait"]),
        ),
        max_size=8,
    )
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_agent_does_in_between_the_pieces_join_to_its_answer(transactional_db, steps):
    async def execute(context):
        async with context.stream() as stream:
            return "".join([await speak(context, stream, step) for step in steps])

    def nothing() -> None: ...

    async def run():
        shop = Workshop()
        try:
            return await shop.run(execute, tools=[nothing])
        finally:
            await shop.close()

    log = asyncio.run(run())

    assert "".join(part["delta"] for part in partials(log)) == log[-1]["data"]["result"]["output"]
