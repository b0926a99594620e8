import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.library.readings import LONGEST, MOST, READ, readings


@pytest.mark.parametrize(
    ("message", "tool", "arguments"),
    [
        ("What is 17 * 23?", "calculate", {"expression": "17 * 23"}),
        ("How much is 15% of 80", "calculate", {"expression": "15% of 80"}),
        ("sqrt(2) + 1", "calculate", {"expression": "sqrt(2) + 1"}),
        ("What is 3.5 * (2 + 4)?", "calculate", {"expression": "3.5 * (2 + 4)"}),
        ("Compute 7/0", "calculate", {"expression": "7/0"}),
        ("Convert 5 miles to km", "convert_units", {"value": "5", "unit": "miles", "to": "km"}),
        ("How many feet are in 2 miles?", "convert_units", {"value": "2", "unit": "miles", "to": "feet"}),
        ("100 °F to °C", "convert_units", {"value": "100", "unit": "°F", "to": "°C"}),
        ("what time is it?", "current_time", {"zone": "UTC"}),
        ("What is the date today, in Europe/Berlin?", "current_time", {"zone": "Europe/Berlin"}),
        ("Days from 2026-01-01 to 2026-12-24?", "days_between", {"first": "2026-01-01", "second": "2026-12-24"}),
        ("What did I say about Rome?", "search_thread", {"words": "Rome"}),
    ],
)
def test_what_a_message_spells_out(message, tool, arguments):
    (reading,) = readings(message, question="")

    assert (reading.tool, reading.arguments) == (tool, arguments)


@pytest.mark.parametrize(
    "message",
    [
        "Hello!",
        "Tell me about 2 dogs.",
        "We grew in 2024-2025",
        "Call 555-1234",
        "5 km to kg",
        "Once upon a time",
        "It cost 3.50, or so",
        "-",
        "",
    ],
)
def test_other_messages_spell_out_nothing(message):
    assert readings(message, question="") == []


def test_several_sums_are_all_offered():
    assert [one.arguments["expression"] for one in readings("What is 2+2? and 3*3?", question="")] == ["2+2", "3*3"]


def test_a_question_about_a_table_goes_to_the_table():
    assert [one.tool for one in readings("1 + 1, and this table", question="Which?")] == ["answer_question"]


@given(st.text(st.sampled_from("0123456789 ()+-*/%.,=^skmofqrtin°FC"), max_size=400))
def test_any_message_has_few_and_short_readings(message):
    found = readings(message, question="")

    assert len(found) <= MOST
    assert all(len(value) <= LONGEST for one in found for value in one.arguments.values())


@pytest.mark.parametrize("part", ["1", "1+", "9 km", "find chat ", "what did I say ", "(", "1 of "])
def test_a_long_message_is_read_at_its_beginning_only(part):
    message = part * 60_000

    assert readings(message, question="") == readings(message[:READ], question="")
