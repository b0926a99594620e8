import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tiers import TIERS, build_tiers, problems


def test_the_table_has_the_times_of_the_requirements():
    assert {name: tier.run for name, tier in TIERS.items()} == {
        "free": 40,
        "early": 50,
        "mid": 60,
        "platform": 120,
        "enterprise": 300,
    }


def test_the_shipped_table_is_sound():
    assert list(problems(TIERS)) == []


def test_a_deployment_changes_one_number_and_keeps_the_rest():
    table = build_tiers({"free": {"run": 100}})

    assert table["free"].run == 100
    assert table["free"].tool == TIERS["free"].tool
    assert table["mid"] == TIERS["mid"]
    assert TIERS["free"].run == 40


@pytest.mark.parametrize(("overrides", "error"), [({"gold": {"run": 1}}, KeyError), ({"free": {"rum": 1}}, TypeError)])
def test_an_unknown_name_raises(overrides, error):
    with pytest.raises(error, match=r"gold|rum"):
        build_tiers(overrides)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"tool": 40}, "tool (40) < no_progress (35) < run (40) must hold"),
        ({"no_progress": 40}, "tool (30) < no_progress (40) < run (40) must hold"),
        ({"tool": 0}, "every limit must be above 0"),
        ({"approval": -1}, "every limit must be above 0"),
    ],
)
def test_a_senseless_table_is_told_with_its_tier_and_numbers(numbers, said):
    found = list(problems(build_tiers({"free": numbers})))

    assert len(found) == 1
    assert found[0].startswith("tier free: ")
    assert said in found[0]


@given(st.tuples(*[st.floats(-10, 100)] * 4))
def test_exactly_the_sound_tables_have_no_problems(numbers):
    run, no_progress, tool, approval = numbers
    table = build_tiers({"free": {"run": run, "no_progress": no_progress, "tool": tool, "approval": approval}})

    assert (not list(problems(table))) == (0 < tool < no_progress < run and approval > 0)
