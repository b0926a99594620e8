import dataclasses
import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.bounds import MAX_VALUE_BYTES, cut_text, cut_value, split_text, to_json_value

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=600) | st.text('"\\\0é💥a', max_size=600)


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


@dataclasses.dataclass
class Point:
    x: int
    y: float


def test_common_values_become_plain_json():
    value = {"when": datetime(2026, 1, 2, tzinfo=UTC), "day": date(2026, 1, 2), "at": Point(1, 2.5), "set": {3}}

    assert to_json_value(value) == {
        "when": "2026-01-02T00:00:00Z",
        "day": "2026-01-02",
        "at": {"x": 1, "y": 2.5},
        "set": [3],
    }


def recursive() -> list[object]:
    values: list[object] = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    "value", [object(), {"a": [object()]}, lambda: 1, recursive(), "\ud800", 1j], ids=lambda value: type(value).__name__
)
def test_what_is_not_json_is_a_type_error(value):
    with pytest.raises(TypeError, match="is not JSON"):
        to_json_value(value)


def test_none_is_a_value_like_any_other():
    assert to_json_value(None) is None


@given(texts, st.integers(100, 400))
def test_a_cut_text_fits_and_is_a_beginning(text, limit):
    shown = cut_text(text, limit)

    assert size(shown) <= limit
    if size(text) <= limit:
        assert shown == text
    else:
        beginning, _, note = shown.rpartition("… [cut, ")
        assert text.startswith(beginning)
        assert note == f"{len(text):,} characters in all]"


def test_a_cut_text_is_not_cut_more_than_it_must():
    assert size(cut_text("x" * 1_000, 400)) == 400


def test_a_lone_surrogate_becomes_a_question_mark():
    assert cut_text("a\ud800b") == "a?b"


@given(texts, st.integers(20, 200))
def test_the_pieces_of_a_text_fit_and_join_to_it(text, limit):
    pieces = split_text(text, limit)

    assert "".join(pieces) == text
    assert all(size(piece) <= limit for piece in pieces)


def test_an_empty_text_is_one_empty_piece():
    assert split_text("") == [""]


def test_a_small_value_is_itself():
    value = {"a": [1, 2]}

    assert cut_value(value) == (value, False)


def test_a_large_value_becomes_an_extract_that_says_so():
    value = {"rows": ['"quoted"\n'] * 50_000}

    shown, was_cut = cut_value(value)

    assert was_cut
    assert size(shown) <= MAX_VALUE_BYTES
    assert shown["cut"] is True
    assert shown["bytes"] > MAX_VALUE_BYTES
    assert shown["json_extract"].startswith('{"rows":["')


def test_a_large_text_stays_a_text():
    shown, was_cut = cut_value("é" * 200_000)

    assert was_cut
    assert isinstance(shown, str)
    assert size(shown) <= MAX_VALUE_BYTES
