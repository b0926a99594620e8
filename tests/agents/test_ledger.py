"""What an earlier attempt has done is not done again; what it may have done is told."""

import asyncio
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.database import in_database
from agents.errors import ToolError, ToolUnknown
from agents.ledger import Ledger
from agents.library.analyst import Analyst
from agents.models import AgentExecution
from agents.progress import LoggedCall, read_progress
from agents.redaction import redact
from agents.showing import is_whole, shown
from agents.tools import collect_tools, tool
from netra.testing import laws
from tests.agents.crew import crew_of
from tests.runs import make_terms, read_log, until

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Receipt:
    number: int
    on: date


class Shop:
    """Tools with effects that can be counted, and a place to hang."""

    def __init__(self, crew: Any) -> None:
        self.done: list[str] = []
        self.crew = crew

        @tool
        def pay(to: str, amount: int = 1) -> Receipt:
            self.done.append(f"{amount} to {to}")
            return Receipt(len(self.done), date(2026, 11, 21))

        @tool
        async def hang(name: str = "") -> str:
            self.done.append(f"hang {name}".strip())
            await crew.gate.wait()
            return "free"

        @tool(repeatable=True)
        async def look(name: str = "") -> str:
            return await hang(name)

        @tool
        def refuse(text: str) -> None:
            self.done.append(f"refuse {text}")
            raise ToolError("sold_out", text)

        @tool
        def secret() -> dict[str, str]:
            self.done.append("secret")
            return {"token": "t0"}

        @tool
        def much() -> str:
            self.done.append("much")
            return "x" * 300_000

        self.tools = [pay, hang, look, refuse, secret, much]

    async def log(self, execute: Any, *, until_done: str) -> list[dict[str, Any]]:
        """The log of a run whose first attempt is given up when that has been done."""
        self.crew.workshop.add_agent(execute, "parent", restartable=True, tools=self.tools)
        self.crew.start()
        run_id = await self.crew.register(terms=make_terms(restartable=True))
        await until(lambda: until_done in self.done)
        await self.crew.stop()
        self.crew.gate.set()
        self.crew.start()
        log: list[dict[str, Any]] = await self.crew.log_of(run_id)
        return log


@pytest.fixture
async def shop(workshop):
    async with crew_of(workshop) as crew:
        yield Shop(crew)


async def call(context, name: str, /, **arguments: Any) -> Any:
    try:
        return await context.tools.call(name, **arguments)
    except ToolError as error:
        return [type(error).__name__, error.code]


def output(log):
    laws.require_lawful(log)
    assert log[-1]["data"]["status"] == "completed", log[-1]
    return log[-1]["data"]["result"]["output"]


async def test_completed_calls_are_not_made_again_and_have_the_same_results(shop):
    seen: list[Any] = []

    async def execute(context):
        receipts = [
            await context.tools.call("pay", to="ada"),
            await context.tools.call("pay", to="bob", amount=2),
            await context.tools.call("pay", to="ada"),
        ]
        seen.append(receipts)
        refused = await call(context, "refuse", text="No.")
        await call(context, "hang")
        return [refused, [receipt.number for receipt in receipts]]

    log = await shop.log(execute, until_done="hang")

    assert output(log) == [["ToolError", "sold_out"], [1, 2, 3]]
    assert shop.done == ["1 to ada", "2 to bob", "1 to ada", "refuse No.", "hang"]
    assert seen[0] == seen[1] == [Receipt(number, date(2026, 11, 21)) for number in (1, 2, 3)]
    paid = [frame for frame in log if frame["type"] == "tool_executing" and frame["data"]["tool_name"] == "pay"]
    assert len(paid) == 3


async def test_a_call_that_was_under_way_is_unknown_and_the_agent_decides(shop):
    async def execute(context):
        try:
            return [await context.tools.call("hang", name="a")]
        except ToolUnknown as error:
            return [error.code, await context.tools.call("hang", name="a")]

    assert output(await shop.log(execute, until_done="hang a")) == ["unknown", "free"]
    assert shop.done == ["hang a", "hang a"]


async def test_an_agent_that_does_not_decide_fails_with_a_code_that_says_so(shop):
    async def execute(context):
        await context.tools.call("hang")

    log = await shop.log(execute, until_done="hang")

    assert log[-1]["data"]["error"]["code"] == "unknown"
    assert shop.done == ["hang"]


async def test_a_call_of_a_repeatable_tool_is_simply_made_again(shop):
    async def execute(context):
        return await context.tools.call("look", name="b")

    assert output(await shop.log(execute, until_done="hang b")) == "free"
    assert shop.done == ["hang b", "hang b"]


async def test_a_person_may_decide_what_becomes_of_an_unknown_call(shop):
    async def execute(context):
        try:
            return await context.tools.call("hang")
        except ToolUnknown:
            answer = await context.ask_approval("It may have been done. Again?", timeout=0.2)
            return answer.decision

    assert output(await shop.log(execute, until_done="hang")) == "expired"


async def test_what_a_local_tool_does_to_its_agent_is_done_by_each_attempt(shop):
    class Agent:
        @tool(local=True)
        def remember(self, word: str) -> None:
            self.word = word

        @tool
        async def hang(self) -> None:
            shop.done.append("hang")
            await shop.crew.gate.wait()

        async def execute(self, context):
            await context.tools.call("remember", word="needle")
            await call(context, "hang")
            return self.word

    shop.crew.workshop.registry.register_agent_safely("own", Agent, restartable=True)
    shop.crew.start()
    run_id = await shop.crew.register("own", terms=make_terms(restartable=True))
    await until(lambda: shop.done)
    await shop.crew.stop()
    shop.crew.start()

    assert output(await shop.crew.log_of(run_id)) == "needle"


def test_the_analyst_which_is_restartable_works_in_its_own_memory_only():
    assert all(tool.is_local for tool in collect_tools(Analyst, ()).values())


@pytest.mark.parametrize("name", ["secret", "much"])
async def test_a_result_that_the_log_does_not_hold_is_not_made_up(shop, name):
    async def execute(context):
        first = await call(context, name)
        await call(context, "hang")
        return first

    assert output(await shop.log(execute, until_done="hang")) == ["ToolUnknown", "not_kept"]
    assert shop.done == [name, "hang"]


async def test_calls_in_parallel_find_their_own_results(shop):
    async def execute(context):
        names = ["ada", "bob", "eve"]
        order = names if context.attempt == 1 else names[::-1]
        receipts = await asyncio.gather(*(context.tools.call("pay", to=name) for name in order))
        await call(context, "hang")
        return {name: receipt.number for name, receipt in zip(order, receipts, strict=True)}

    numbers = output(await shop.log(execute, until_done="hang"))

    assert sorted(numbers.values()) == [1, 2, 3]
    assert len(shop.done) == 4


async def test_the_third_attempt_knows_what_both_before_it_did(shop):
    async def execute(context):
        await context.tools.call("pay", to=f"first of {context.run_id}")
        if context.attempt == 1:
            await call(context, "hang", name="1")
        receipt = await context.tools.call("pay", to="second")
        if context.attempt == 2:
            shop.crew.gate.clear()
            await call(context, "hang", name="2")
        return receipt.number

    shop.crew.workshop.add_agent(execute, "parent", restartable=True, tools=shop.tools)
    shop.crew.start()
    run_id = await shop.crew.register(terms=make_terms(restartable=True))
    for name in ("hang 1", "hang 2"):
        await until(partial(shop.done.__contains__, name))
        await shop.crew.stop()
        shop.crew.start()

    assert output(await shop.crew.log_of(run_id)) == 3
    assert [done for done in shop.done if done.endswith(("second", run_id))] == [
        f"1 to first of {run_id}",
        "1 to second",
    ]


async def test_what_is_read_of_the_log_is_what_was_told(workshop):
    async def execute(context):
        await context.tools.call("pay", to="ada", token="t0")
        await call(context, "pay", to="bob")
        await call(context, "gone", a=1)

    @tool
    def pay(to: str, token: str) -> str:
        return to

    log = await workshop.run(execute, tools=[pay])
    run = await in_database(lambda: AgentExecution.objects.get(run_id=log[0]["run_id"]))
    calls = (await in_database(read_progress, run.pk)).calls

    assert [(one.tool_name, one.arguments, one.result, one.error and one.error.code) for one in calls] == [
        ("pay", {"to": "ada", "token": "[redacted]"}, "ada", None),
        ("pay", {"to": "bob"}, None, "invalid_arguments"),
        ("gone", {"a": 1}, None, "unknown_tool"),
    ]
    assert await in_database(read_log, run.run_id) == log


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_what_was_redacted_is_not_whole(value):
    assert is_whole(value)
    assert is_whole(redact(value)) == (redact(value) == value)
    assert not is_whole({"a": [value, {"password": "[redacted]"}]})


@given(st.lists(st.tuples(st.sampled_from("ab"), st.dictionaries(st.sampled_from("xy"), json_values, max_size=2))))
def test_each_call_is_found_once_and_equal_ones_in_their_order(calls):
    ledger = Ledger(
        LoggedCall(tool_name=name, arguments=shown(arguments), result=number)
        for number, (name, arguments) in enumerate(calls)
    )

    found = [ledger.take(name, arguments) for name, arguments in calls]

    assert [one.result for one in found if one is not None] == list(range(len(calls)))
    assert all(ledger.take(name, arguments) is None for name, arguments in calls)
