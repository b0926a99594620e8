import pytest
from django.core.checks import run_checks

from agents.checks import check_breaker, check_language_model, check_tiers


@pytest.mark.django_db  # Django asks the database what it can do
def test_the_shipped_settings_pass():
    assert check_tiers(None) == check_breaker(None) == []
    assert [problem for problem in run_checks() if problem.id and problem.id.startswith("netra")] == []


@pytest.mark.parametrize(
    ("tiers", "id_", "said"),
    [
        ({"gold": {"run": 1}}, "netra.E001", "gold"),
        ({"free": {"rum": 1}}, "netra.E001", "rum"),
        ({"free": {"tool": 100}}, "netra.E002", "tier free: tool (100)"),
        ({"mid": {"run": -1}}, "netra.E002", "tier mid"),
    ],
)
def test_a_table_that_cannot_work_is_refused_with_a_hint(settings, tiers, id_, said):
    settings.NETRA_TIERS = tiers

    found = check_tiers(None)

    assert {problem.id for problem in found} == {id_}
    assert said in found[0].msg
    assert found[0].hint


def test_a_default_tier_that_does_not_exist_is_refused(settings):
    settings.NETRA_DEFAULT_TIER = "gold"

    assert [problem.id for problem in check_tiers(None)] == ["netra.E003"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("NETRA_BREAKER_FAILURES", -1),
        ("NETRA_BREAKER_WINDOW_SECONDS", 0),
        ("NETRA_BREAKER_COOLDOWN_SECONDS", "30"),
    ],
)
def test_a_circuit_breaker_that_cannot_work_is_refused_with_a_hint(settings, setting, value):
    setattr(settings, setting, value)

    (found,) = check_breaker(None)

    assert found.id == "netra.E004"
    assert found.msg.startswith(f"{setting} is {value!r}")
    assert found.hint


@pytest.mark.parametrize(
    ("base_url", "model", "problems"),
    [("", "", []), ("http://host/v1", "m", []), ("", "m", ["netra.E010"]), ("http://host/v1", "", ["netra.E010"])],
)
def test_an_endpoint_has_an_address_and_a_model(settings, base_url, model, problems):
    settings.NETRA_LLM_BASE_URL, settings.NETRA_LLM_MODEL = base_url, model

    assert [problem.id for problem in check_language_model(None)] == problems
