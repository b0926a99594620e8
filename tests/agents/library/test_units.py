import pytest

from agents.errors import ToolError
from agents.library.units import UNITS, convert_units


@pytest.mark.parametrize(
    ("value", "unit", "to", "shown"),
    [
        ("5", "miles", "km", "5 miles = 8.04672 kilometres"),
        ("100", "F", "C", "100 °F = about 37.7777777778 °C"),
        ("0", "celsius", "fahrenheit", "0 °C = 32 °F"),
        ("-40", "°C", "°F", "-40 °C = -40 °F"),
        ("1,000", "m", "Kilometres", "1,000 metres = 1 kilometres"),
        ("1/4", "hour", "min", "0.25 hours = 15 minutes"),
        ("1", "GiB", "MB", "1 gibibytes = 1,073.741824 megabytes"),
        ("36", "km/h", "m/s", "36 km/h = 10 m/s"),
        ("2", "square  feet", "m2", "2 square feet = 0.18580608 square metres"),
    ],
)
def test_conversions(value, unit, to, shown):
    assert convert_units(value, unit, to) == shown


@pytest.mark.parametrize(("unit", "to"), [("kg", "m"), ("parsec", "m"), ("m", "")])
def test_what_cannot_be_converted_is_said(unit, to):
    with pytest.raises(ToolError) as refused:
        convert_units("3", unit, to)

    assert refused.value.code == "bad_units"


def test_there_and_back_is_the_same():
    for name, unit in UNITS.items():
        for other in UNITS.values():
            if other.kind == unit.kind:
                there = (7 * unit.factor + unit.zero - other.zero) / other.factor
                assert (there * other.factor + other.zero - unit.zero) / unit.factor == 7, name
