"""A thousand orders, made the same way each time, and as the CSV that a user would paste."""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass

CITIES = ("Paris", "Rome", "New York")
REGIONS = ("North", "South", "East", "West")
CUSTOMERS = ("Alice", "Bob", "Carol Smith", "Dan")


@dataclass(frozen=True)
class Order:
    order_id: int
    customer: str
    region: str
    city: str
    color: str
    age: int | None
    units_sold: int
    unit_price: float
    active: str
    order_date: datetime.date


def _order(number: int, chance: random.Random) -> Order:
    units = chance.randrange(1, 50)
    return Order(
        order_id=number,
        customer=chance.choice(CUSTOMERS),
        region=chance.choice(REGIONS),
        city=chance.choice(CITIES),
        color=chance.choice(("red", "blue", "blue", "green")),
        age=None if chance.random() < 0.05 else chance.randrange(18, 70),
        units_sold=units,
        unit_price=round(100 - units + chance.uniform(0, 40), 2),
        active=chance.choice(("yes", "no")),
        order_date=datetime.date(2023, 1, 1) + datetime.timedelta(days=chance.randrange(600)),
    )


_CHANCE = random.Random(20261121)
ORDERS = tuple(_order(number, _CHANCE) for number in range(1, 1001))
NAMES = tuple(Order.__dataclass_fields__)
CSV = "\n".join(
    [
        ",".join(NAMES),
        *(",".join("" if (cell := getattr(one, name)) is None else str(cell) for name in NAMES) for one in ORDERS),
    ]
)
