from __future__ import annotations

import inspect
import json
from types import TracebackType
from typing import Any, Self

import pytest

from agents.errors import AgentError
from agents.library.analyst import Analyst
from agents.runs import RunRequest
from agents.tools import collect_tools
from tests.agents.library.shop import CSV, ORDERS

TOOLS = collect_tools(Analyst, ())


class RecordingContext:
    """Runs an agent's tools and writes down all that it tells."""

    def __init__(self, message: str, params: dict[str, Any] | None = None) -> None:
        self.request = RunRequest(agent="analyst", message=message, params=params or {})
        self.agent = Analyst()
        self.tools = self
        self.told: list[tuple[str, Any]] = []

    async def think(self, reasoning: str, **progress: Any) -> None:
        self.told.append(("think", progress["progress_percentage"]))

    async def call(self, name: str, /, **arguments: Any) -> Any:
        self.told.append(("call", name))
        assert len(json.dumps(arguments)) < 3_000
        result = await TOOLS[name].run(TOOLS[name].check(arguments), self.agent)
        assert len(json.dumps(result, allow_nan=False)) < 100_000
        return result

    def stream(self) -> RecordingContext:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.told.append(("end", error))

    async def write(self, text: str) -> None:
        self.told.append(("write", text))

    async def run(self) -> str:
        return await self.agent.execute(self)  # type: ignore[arg-type]

    def all(self, what: str) -> list[Any]:
        return [value for kind, value in self.told if kind == what]


async def test_a_run_walks_all_steps_and_streams_what_it_returns() -> None:
    context = RecordingContext(f"How many rows have missing age?\n\n{CSV}")
    text = await context.run()
    assert "".join(context.all("write")) == text
    assert context.all("call") == [
        "read_table", "answer_question", "describe_columns", "find_missing", "correlate", "find_outliers", "group_by",
    ]  # fmt: skip
    progress = context.all("think")
    assert progress == sorted(progress)
    assert text.startswith(f"## Answer\n\n**{sum(one.age is None for one in ORDERS)}** of 1,000 rows")


async def test_each_think_comes_before_its_call_and_sections_are_streamed_between() -> None:
    context = RecordingContext(f"What is the average price?\n\n{CSV}")
    await context.run()
    kinds = [kind for kind, _ in context.told]
    assert all(kinds[place - 1] == "think" for place, kind in enumerate(kinds) if kind == "call")
    assert kinds.index("write") < len(kinds) - 1 - kinds[::-1].index("call")


async def test_a_table_in_params_is_read_and_named() -> None:
    text = await RecordingContext("total sales?", {"table": "region,sales\nN,1\nS,2", "filename": "s.csv"}).run()
    assert "Total sales: **3**" in text
    assert "from s.csv" in text


async def test_without_a_table_the_user_is_told_what_to_paste() -> None:
    with pytest.raises(AgentError, match="I found no table in your message. Paste it as CSV") as raised:
        await RecordingContext("What is the average?").run()
    assert raised.value.code == "no_table"


@pytest.mark.parametrize(
    "table",
    [
        "region,sales",
        "a,b\n1,2",
        "a\n1\n2",
        "a,b\n,\nNA,",
        "a,b\nx,1\nx,1\nx,1",
        "x,y\ninf,nan\n1,2\n-inf,3",
        "a,a,\n1,2,3,4\n5",
        "^.*$,*\n1,2\n3,4",
        "row,level,value0,c0\n1,2,3,4\n5,6,7,8",
        "naïve,日本\nä,1\n🎉,2",
        "d\n9999-12-31\n0001-01-01\n",
        "x,y\n" + "\n".join(f"1e308,{n}e307" for n in range(9)),
        ",".join(f"c{n}" for n in range(1000)) + "\n" + ",".join("1" for _ in range(1000)),
    ],
)
@pytest.mark.parametrize(
    "question", ["", "Which is highest, by column?", "trend over time?", "average by month in 2023"]
)
async def test_odd_tables_give_a_report(table: str, question: str) -> None:
    text = await RecordingContext(question, {"table": table}).run()
    assert "## The table" in text


async def test_cells_cannot_break_the_report() -> None:
    rows = [{"name": "<img src=x onerror=alert(1)>|`a`\n# h", "n": n} for n in range(6)]
    text = await RecordingContext("most common name?", {"table": rows}).run()
    assert "<img" not in text
    assert "\n# h" not in text


def test_sync_tools_leave_the_event_loop_alone() -> None:
    assert not any(inspect.iscoroutinefunction(tool.function) for tool in TOOLS.values())
