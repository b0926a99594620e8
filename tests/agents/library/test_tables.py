from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import AgentError
from agents.library.tables import find

ROWS = (("North", "10"), ("South", "20"))
QUESTION = "Which region sold most, please?"
LAYOUTS = {
    "comma": "region,sales\nNorth,10\nSouth,20",
    "semicolon": "region;sales\nNorth;10\nSouth;20",
    "tab": "region\tsales\nNorth\t10\nSouth\t20",
    "pipe": "region|sales\nNorth|10\nSouth|20",
    "spaced": "region, sales\nNorth, 10\nSouth, 20",
    "markdown": "| region | sales |\n|:--|--:|\n| North | 10 |\n| South | 20 |",
    "psql": " region | sales \n--------+-------\n North | 10\n South | 20",
    "json": '[{"region": "North", "sales": 10}, {"region": "South", "sales": 20}]',
    "json frame": '{"columns": ["region", "sales"], "rows": [["North", 10], ["South", 20]]}',
    "json columns": '{"region": ["North", "South"], "sales": [10, 20]}',
    "json wrapped": '{"data": [{"region": "North", "sales": 10}, {"region": "South", "sales": 20}]}',
    "json lines": '{"region": "North", "sales": 10}\n{"region": "South", "sales": 20}',
    "crlf": "region,sales\r\nNorth,10\r\nSouth,20\r\n",
    "bom and nul": "\ufeffregion,sales\nNorth,1\x000\nSouth,20",
    "blank lines between": "region,sales\n\nNorth,10\n\nSouth,20",
    "quoted": '"region","sales"\n"North","10"\n"South","20"',
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "around",
    ["{table}\n\n{question}", "{question}\n\n{table}", "{question}\n{table}\nThanks in advance, you are great!",
     "{question}\n```\n{table}\n```", "```csv\n{table}\n```\n{question}"],
)  # fmt: skip
def test_every_layout_is_found_wherever_the_prose_is(layout: str, around: str) -> None:
    pasted = find(around.format(table=LAYOUTS[layout], question=QUESTION), {})
    assert pasted.grid.names == ("region", "sales")
    assert pasted.grid.rows == ROWS
    assert QUESTION in pasted.question
    assert "North" not in pasted.question


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_is_read_like_a_message_and_the_message_stays_the_question(layout: str) -> None:
    pasted = find(QUESTION, {"table": LAYOUTS[layout], "filename": "sales.csv"})
    assert (pasted.grid.rows, pasted.question, pasted.source) == (ROWS, QUESTION, "sales.csv")


@pytest.mark.parametrize(
    "records",
    [
        [{"region": "North", "sales": 10}, {"region": "South", "sales": 20}],
        {"columns": ["region", "sales"], "rows": [["North", 10], ["South", 20]]},
        [["region", "sales"], ["North", 10], ["South", 20]],
    ],
)
def test_params_may_hold_records(records: object) -> None:
    assert find("?", {"table": records}).grid.rows == ROWS


@pytest.mark.parametrize(
    "message",
    ["", "hello", "Hello, I have a question.\nThanks, Bob", "Dear analyst,\nPlease help, I'm lost", "[1, 2, 3]",
     "I like apples, oranges and pears. Which one, do you think, is best?", "[" * 60_000, '{"a":' * 10_000],
)  # fmt: skip
def test_prose_is_no_table(message: str) -> None:
    with pytest.raises(AgentError, match="I found no table in your message") as raised:
        find(message, {})
    assert raised.value.code == "no_table"


@pytest.mark.parametrize("table", ["", "hello", [], {}, 7, [1, 2]])
def test_params_without_a_table_are_told_like_a_message_without(table: object) -> None:
    with pytest.raises(AgentError):
        find("What is the average?", {"table": table})


@pytest.mark.parametrize("prose", ["thanks", "total sales by region, please", "by region, or by the month of sale"])
def test_short_prose_next_to_a_table_is_no_row(prose: str) -> None:
    for message in (f"{LAYOUTS['comma']}\n{prose}", f"{prose}\n{LAYOUTS['comma']}"):
        pasted = find(message, {})
        assert (pasted.grid.names, pasted.grid.rows, pasted.question) == (("region", "sales"), ROWS, prose)


def test_ragged_rows_are_kept_and_told() -> None:
    grid = find("a,b,c\n1,2,3\n4,5\n6,7,8,9", {}).grid
    assert grid.rows == (("1", "2", "3", ""), ("4", "5", "", ""), ("6", "7", "8", "9"))
    assert any("2 rows have more or fewer than 3 cells (row 2, 3)" in warning for warning in grid.warnings)


def test_blank_and_repeated_names_become_different() -> None:
    grid = find("a,,a,a\n1,2,3,4", {}).grid
    assert grid.names == ("a", "column 2", "a (2)", "a (3)")
    assert len(grid.warnings) == 3


def test_a_header_without_rows_is_a_table_without_rows() -> None:
    assert find("| region | sales |\n|---|---|", {}).grid.rows == ()
    assert find("?", {"table": "region,sales"}).grid.names == ("region", "sales")


def test_numbers_in_the_first_row_are_data() -> None:
    assert find("?", {"table": "1,2\n3,4"}).grid.rows == (("1", "2"), ("3", "4"))


def test_years_in_the_first_row_are_names() -> None:
    assert find("?", {"table": "2020,2021\nx,y"}).grid.names == ("2020", "2021")


def test_a_single_column_below_prose_is_found() -> None:
    assert find("What is the average?\nsales\n10\n20\n30", {}).grid.rows == (("10",), ("20",), ("30",))


def test_the_largest_of_several_tables_is_read_and_told() -> None:
    grid = find("```\na,b\n1,2\n```\nand\n```\nc,d\n1,2\n3,4\n```", {}).grid
    assert grid.names == ("c", "d")
    assert "2 tables" in grid.warnings[-1]


def test_an_unclosed_quote_swallows_no_rows() -> None:
    lines = "\n".join(f"x,{n}" for n in range(50))
    assert len(find(f'a,b\n"y,1\n{lines}', {}).grid.rows) == 51


CELL = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and not any(char.isdigit() for char in text) and "�" not in text
)


@given(
    st.lists(st.tuples(CELL, CELL, st.integers(0, 10**6).map(str)), min_size=1, max_size=20), st.sampled_from(",;\t")
)
def test_what_csv_writes_is_read_back(rows: Sequence[tuple[str, str, str]], delimiter: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("first name", "last name", "count"), *rows])
    assert find("?", {"table": text.getvalue()}).grid.rows == tuple(rows)


@given(st.text(max_size=300))
def test_no_text_breaks_the_search(text: str) -> None:
    for params in ({}, {"table": text}):
        try:
            grid = find(text, params).grid
        except AgentError:
            continue
        assert all(len(row) == len(grid.names) for row in grid.rows)
        assert len(set(grid.names)) == len(grid.names)


LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_no_json_breaks_the_search(value: object) -> None:
    for params in ({"table": value}, {"table": json.dumps(value)}):
        try:
            grid = find("?", params).grid
        except AgentError:
            continue
        assert all(len(row) == len(grid.names) for row in grid.rows)
