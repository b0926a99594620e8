from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.library.markdown import LONGEST_CELL, escape, figure


@pytest.mark.parametrize(
    ["value", "text"],
    [(1, "1"), (1234567, "1,234,567"), (1234567.891, "1,234,567.89"), (49.87654, "49.88"), (0.0123456, "0.01235"),
     (-3.14159, "-3.142"), (0.1 + 0.2, "0.3"), (1e20, "1e+20"), (0.0, "0"), (99.999, "100")],
)  # fmt: skip
def test_numbers_read_well(value: float, text: str) -> None:
    assert figure(value) == text


@given(st.floats(-1e12, 1e12))
def test_a_figure_is_close_to_its_number(value: float) -> None:
    assert float(figure(value).replace(",", "")) == pytest.approx(value, rel=1e-3, abs=1e-99)


@given(st.text(max_size=200))
def test_no_cell_leaves_its_place(text: str) -> None:
    safe = escape(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]~#]", re.sub(r"&#?\w+;", "", safe))
    assert not set("<>\n\r\x00") & set(safe)
    assert "://" not in safe


def test_long_cells_are_cut_and_plain_names_left_alone() -> None:
    assert len(escape("x" * 1000)) == LONGEST_CELL
    assert escape("unit_price") == "unit_price"
    assert escape("_emphasis_") == r"\_emphasis\_"
