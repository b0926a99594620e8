"""Conversion between units, by exact factors."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple

from agents.errors import ToolError
from agents.library.calculator import evaluate, show
from agents.tools import tool


class Unit(NamedTuple):
    """A value in it times `factor`, plus `zero`, is the value in the unit that its kind is counted in."""

    kind: str
    name: str
    factor: Fraction
    zero: Fraction = Fraction(0)


_TABLE: Final = """
length: metre metres meter meters m 1 | kilometre kilometres kilometer kilometers km 1000
length: centimetre centimetres centimeter centimeters cm 0.01 | millimetre millimetres millimeter millimeters mm 0.001
length: mile miles mi 1609.344 | yard yards yd 0.9144 | foot feet ft 0.3048 | inch inches in 0.0254
length: nautical_mile nautical_miles nmi 1852
mass: kilogram kilograms kilo kilos kg 1 | gram grams g 0.001 | milligram milligrams mg 0.000001
mass: tonne tonnes t 1000 | pound pounds lb lbs 0.45359237 | ounce ounces oz 0.028349523125 | stone stones st 6.35029318
time: second seconds sec s 1 | millisecond milliseconds ms 0.001 | minute minutes min 60 | hour hours h hr hrs 3600
time: day days d 86400 | week weeks 604800
volume: litre litres liter liters l 1 | millilitre millilitres milliliter milliliters ml 0.001
volume: cubic_metre cubic_metres m3 m³ 1000 | gallon gallons gal 3.785411784 | pint pints pt 0.473176473
volume: cup cups 0.2365882365 | tablespoon tablespoons tbsp 0.01478676478125 | teaspoon teaspoons tsp 0.00492892159375
area: square_metre square_metres m2 m² 1 | square_kilometre square_kilometres km2 km² 1000000
area: hectare hectares ha 10000 | acre acres 4046.8564224 | square_foot square_feet ft2 ft² sqft 0.09290304
speed: km/h km/h kmh kph 5/18 | m/s 1 | mph 0.44704 | knot knots kn 463/900
data: byte bytes B 1 | kilobyte kilobytes kB 1000 | megabyte megabytes MB 1000000 | gigabyte gigabytes GB 1000000000
data: terabyte terabytes TB 1000000000000 | kibibyte kibibytes KiB 1024 | mebibyte mebibytes MiB 1048576
data: gibibyte gibibytes GiB 1073741824
energy: joule joules J 1 | kilojoule kilojoules kJ 1000 | kilowatt_hour kilowatt_hours kWh 3600000
energy: calorie calories cal 4.184 | kilocalorie kilocalories kcal 4184
pressure: pascal pascals Pa 1 | bar bars 100000 | atmosphere atmospheres atm 101325 | psi 8896443230521/1290320000
"""


def _units() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        kind, _, rest = line.partition(": ")
        for entry in rest.split(" | "):
            *names, factor = entry.split()
            unit = Unit(kind, names[min(1, len(names) - 1)].replace("_", " "), Fraction(factor))
            found |= {name.replace("_", " "): unit for name in names}
    kelvin = Unit("temperature", "kelvin", Fraction(1))
    celsius = Unit("temperature", "°C", Fraction(1), Fraction("273.15"))
    fahrenheit = Unit("temperature", "°F", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9))
    found |= dict.fromkeys(("celsius", "degrees celsius", "°C", "C"), celsius)
    found |= dict.fromkeys(("fahrenheit", "degrees fahrenheit", "°F", "F"), fahrenheit)
    return found | dict.fromkeys(("kelvin", "K"), kelvin)


UNITS: Final = _units()


@tool
def convert_units(value: str, unit: str, to: str) -> str:
    """Converts a value, such as 5 or 1/3, from one unit to another: length, mass, time, volume, area, speed, data …"""
    source, target = find(unit), find(to)
    if source.kind != target.kind:
        raise ToolError("bad_units", f"{source.name} measure {source.kind}, {target.name} measure {target.kind}.")
    number = evaluate(value)
    converted = (number * source.factor + source.zero - target.zero) / target.factor
    return f"{show(number, as_fraction=False)} {source.name} = {show(converted, as_fraction=False)} {target.name}"


def find(name: str) -> Unit:
    """Raises ToolError `bad_units`."""
    name = " ".join(name.split()).rstrip(".")
    found = UNITS.get(name) or UNITS.get(name.lower())
    if found is None:
        raise ToolError("bad_units", f"I know no unit called {name[:40]!r}.")
    return found
