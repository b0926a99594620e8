from __future__ import annotations

import statistics as plain
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.library import statistics
from agents.library.columns import Table, typed
from agents.library.tables import find
from tests.agents.library.shop import CSV, ORDERS

SHOP = typed(find("q\n\n" + CSV, {}).grid)


def of(**columns: list[object]) -> Table:
    return typed(find("?", {"table": dict(columns)}).grid)


def test_a_summary_says_what_plain_python_says() -> None:
    (summary,) = (one for one in statistics.summaries(SHOP, 20) if one["column"] == "unit_price")
    prices = [one.unit_price for one in ORDERS]
    low, middle, high = plain.quantiles(prices, method="inclusive")
    expected = {"min": min(prices), "q1": low, "median": middle, "q3": high, "max": max(prices)}
    expected |= {"mean": plain.fmean(prices), "std": plain.stdev(prices)}
    assert {key: summary[key] for key in expected} == pytest.approx(expected)


def test_missing_counts_cells_and_complete_rows() -> None:
    lacking = sum(one.age is None for one in ORDERS)
    found = statistics.missing(SHOP, 5)
    assert found["columns"] == [{"column": "age", "missing": lacking}]
    assert (found["complete_rows"], found["missing_cells"]) == (1000 - lacking, lacking)


def test_only_the_real_correlation_is_reported_first() -> None:
    strongest = statistics.correlations(SHOP, 10)["strongest"]
    assert isinstance(strongest, list)
    r = plain.correlation([one.units_sold for one in ORDERS], [one.unit_price for one in ORDERS])
    assert strongest[0] == {"a": "units_sold", "b": "unit_price", "r": round(r, 4), "n": 1000}
    assert all("order_id" not in (one["a"], one["b"]) for one in strongest)


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]},
        {"a": [1, 1, 1, 1, 1, 1], "b": [1, 2, 3, 4, 5, 6]},
        {"a": [1, None, 3, None, 5, None], "b": [None, 2, None, 4, None, 6]},
    ],
)
def test_too_few_pairs_and_constants_have_no_correlation(columns: dict[str, list[object]]) -> None:
    assert statistics.correlations(of(**columns), 10)["pairs_compared"] == 0


def test_an_outlier_is_named_with_its_row() -> None:
    (found,) = statistics.outliers(of(x=[1, 2, 3, 4, 5, 6, 7, 8, 900]), 10)
    assert found["rows"] == [{"row": 9, "value": 900}]


def test_the_bounds_are_one_and_a_half_interquartile_ranges_out() -> None:
    (found,) = statistics.outliers(of(x=[1, 2, 3, 4, 5, 6, 7, 8, 9, 16]), 10)
    low, _, high = plain.quantiles([1, 2, 3, 4, 5, 6, 7, 8, 9, 16], method="inclusive")
    assert (found["below"], found["above"]) == (low - 1.5 * (high - low), high + 1.5 * (high - low))


def test_groups_come_with_count_mean_and_sum() -> None:
    (found,) = statistics.groups(of(team=["a", "b", "a", "b", "a", "b"], points=[1, 10, 2, 20, 3, 30]), 20)
    assert found["groups"] == [
        {"group": "b", "count": 3, "mean": 20.0, "sum": 60},
        {"group": "a", "count": 3, "mean": 2.0, "sum": 6},
    ]


NUMBERS = st.lists(st.none() | st.floats(-1e9, 1e9) | st.integers(-(10**15), 10**15), min_size=1, max_size=30)


@given(NUMBERS, NUMBERS)
def test_no_numbers_break_the_findings(one: list[object], other: list[object]) -> None:
    table = of(a=one, b=other, c=["x", "y"])
    statistics.summaries(table, 10)
    statistics.outliers(table, 10)
    statistics.groups(table, 10)
    found = statistics.correlations(table, 10)["strongest"]
    assert isinstance(found, list)
    assert all(-1 <= pair["r"] <= 1 for pair in found)


@pytest.mark.parametrize(["rows", "columns"], [(8, 1000), (20_000, 2), (1, 1000)])
def test_a_pathological_table_takes_bounded_time(rows: int, columns: int) -> None:
    lines = (",".join(str((row * 7919 + place * 104729) % 9973) for place in range(columns)) for row in range(rows))
    text = ",".join(f"c{place}" for place in range(columns)) + "\n" + "\n".join(lines)
    began = time.thread_time()
    table = typed(find("average of c1?", {"table": text}).grid)
    for finding in (
        statistics.summaries,
        statistics.missing,
        statistics.correlations,
        statistics.outliers,
        statistics.groups,
    ):
        finding(table, 20)
    assert (table.height, len(table.columns)) == (rows, columns)
    assert time.thread_time() - began < 6  # of this thread's own; about 1 if it is bounded
