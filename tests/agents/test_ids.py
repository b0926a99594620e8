import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ids import MAX_LENGTH, Prefix, is_id, new_id


@pytest.mark.parametrize("prefix", Prefix)
def test_a_new_id_says_what_it_names_and_fits_its_column(prefix):
    made = new_id(prefix)

    assert made.startswith(f"{prefix.value}_")
    assert len(made) <= MAX_LENGTH
    assert is_id(made, prefix)


def test_ids_sort_by_creation():
    made = [new_id(Prefix.RUN) for _ in range(200)]

    assert len(set(made)) == 200
    assert sorted(made, key=lambda id_: id_[:14]) == made  # the first 10 characters of the suffix are the time


@pytest.mark.parametrize("prefix", [prefix for prefix in Prefix if prefix is not Prefix.RUN])
def test_an_id_of_another_kind_is_no_run_id(prefix):
    assert not is_id(new_id(prefix), Prefix.RUN)


def test_a_run_id_with_another_prefix_before_it_is_refused():
    suffix = new_id(Prefix.RUN).removeprefix("run_")

    assert not is_id(f"thread_{suffix}", Prefix.RUN)
    assert not is_id(f"run_{suffix[:-1]}", Prefix.RUN)
    assert not is_id(f"run_{suffix}0", Prefix.RUN)
    assert not is_id(f"RUN_{suffix}", Prefix.RUN)
    assert not is_id(f"run_{suffix[:-1]}l", Prefix.RUN)  # no letter of base 32
    assert not is_id(f"run_z{suffix[1:]}", Prefix.RUN)  # above 128 bits
    assert not is_id(suffix, Prefix.RUN)


@given(st.text())
def test_no_text_whatever_makes_it_raise(text):
    assert not is_id(text, Prefix.RUN)


@given(st.text(min_size=26, max_size=26))
def test_no_text_behind_the_prefix_makes_it_raise(text):
    assert is_id(f"run_{text}", Prefix.RUN) in (True, False)
