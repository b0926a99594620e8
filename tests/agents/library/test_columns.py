from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.library.cells import number
from agents.library.columns import Column, Kind, Table, typed
from agents.library.dates import date
from agents.library.tables import find


def of(cells: list[str], name: str = "x", others: str = "") -> tuple[Column, Table]:
    rows = [
        {"label": f"r{place}", name: cell, **({"other": others} if others else {})} for place, cell in enumerate(cells)
    ]
    table = typed(find("?", {"table": rows}).grid)
    return table.named(name), table


@pytest.mark.parametrize(
    ["cells", "expected", "unit"],
    [
        (["1", "2"], [1, 2], ""),
        (["1,234", "5,678,901"], [1234, 5678901], ""),
        (["1.234,5", "2,75"], [1234.5, 2.75], ""),
        (["1 234,5", "7"], [1234.5, 7], ""),
        (["$1,200.50", "-$5"], [1200.5, -5], "$"),
        (["3,50 €", "1.000,00 €"], [3.5, 1000], "€"),
        (["45%", "7.5 %"], [45, 7.5], "%"),
        (["(1,234)", "−5"], [-1234, -5], ""),
        (["1e3", ".5"], [1000, 0.5], ""),
        (["1", "", "NA", "n/a", "3"], [1, None, None, None, 3], ""),
        (["1", "inf", "NaN", "-Infinity"], [1, None, None, None], ""),
    ],
)
def test_numbers_are_read_as_people_write_them(cells: list[str], expected: list[float | None], unit: str) -> None:
    column, table = of(cells)
    assert (column.kind, column.unit) == (Kind.NUMBER, unit)
    assert table.frame[column.key].to_list() == expected


@pytest.mark.parametrize("cells", [["00123", "00456"], ["12 kg", "3 kg"], ["1.2.3", "1.2.4"], ["a", "1"]])
def test_what_only_looks_like_numbers_stays_text(cells: list[str]) -> None:
    assert of(cells)[0].kind is Kind.TEXT


@pytest.mark.parametrize(
    "cells",
    [["2024-01-05", "2024-02-06"], ["05.01.2024", "06.02.2024"], ["1/5/2024", "2/6/2024", "1/13/2024"],
     ["5/1/2024", "6/2/2024", "13/1/2024"], ["5 Jan 2024", "6 February 2024"], ["Jan 5, 2024", "February 6, 2024"],
     ["2024-01-05T00:00:00Z", "2024-02-06 01:00+01:00"]],
)  # fmt: skip
def test_dates_are_read_in_the_common_forms(cells: list[str]) -> None:
    column, table = of(cells)
    assert column.kind is Kind.DATE
    assert table.frame[column.key].to_list()[:2] == [datetime.datetime(2024, 1, 5), datetime.datetime(2024, 2, 6)]  # noqa: DTZ001


def test_an_open_order_of_day_and_month_is_told() -> None:
    assert "I put the month first" in of(["1/2/2024", "3/4/2024"])[1].warnings[0]


@pytest.mark.parametrize(["cells", "kind"], [(["yes", "no"], Kind.BOOLEAN), (["True", "FALSE"], Kind.BOOLEAN),
    (["f", "m"], Kind.TEXT), (["f", "f"], Kind.TEXT), (["", "NA"], Kind.EMPTY)])  # fmt: skip
def test_truths_and_empty_columns(cells: list[str], kind: Kind) -> None:
    assert of(cells)[0].kind is kind


def test_a_few_words_among_numbers_are_left_out_and_told() -> None:
    column, table = of(["1", "2", "3", "4", "x"])
    assert column.kind is Kind.NUMBER
    assert table.frame[column.key].null_count() == 1
    assert "1 of 5 values are no numbers (“x”)" in table.warnings[0]


def test_mixed_currencies_are_told_and_carry_no_sign() -> None:
    column, table = of(["$5", "€6"])
    assert column.unit == ""
    assert "mixes $, €" in table.warnings[0]


def test_one_column_with_decimal_commas_decides_for_another() -> None:
    table = typed(find("?", {"table": "a;b\n1,5;1,234\n2,25;5,678"}).grid)
    assert table.frame["c1"].to_list() == [1.234, 5.678]


def test_ids_measure_nothing() -> None:
    assert not of(["1", "2", "3"], name="customer_id")[0].is_measure
    assert of(["1", "2", "3"], name="sales")[0].is_measure


@given(st.floats(-1e12, 1e12))
def test_what_format_writes_is_read_back(value: float) -> None:
    text = f"{value:,.4f}"
    read = number(text)
    assert read is not None
    assert read.value == pytest.approx(float(text.replace(",", "")))
    swapped = text.translate(str.maketrans(",.", ".,"))
    read = number(swapped, ",")
    assert read is not None
    assert read.value == pytest.approx(float(text.replace(",", "")))


@given(st.dates(datetime.date(1000, 1, 1)), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%b %d, %Y"]))
def test_every_day_is_read_back(day: datetime.date, form: str) -> None:
    read = date(day.strftime(form))
    assert read is not None
    assert read.date() == day


@given(st.text(max_size=45))
def test_no_cell_breaks_the_readers(cell: str) -> None:
    number(cell, ".")
    number(cell, ",")
    date(cell)
    of([cell, "1"])
