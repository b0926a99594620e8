"""An agent to be photographed: it takes its time, as real ones do."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.context import AgentExecutionContext
from agents.registry import agent
from agents.tools import tool

OFFERS = [
    {"supplier": "Nordlys Metall", "price": 4.10, "days": 12, "in_stock": 40_000},
    {"supplier": "Bauer & Sohn", "price": 4.35, "days": 5, "in_stock": 18_500},
    {"supplier": "Atelier Rivet", "price": 3.95, "days": 21, "in_stock": 75_000},
    {"supplier": "Tanaka Fasteners", "price": 4.60, "days": 4, "in_stock": 22_000},
]


@tool
async def find_offers(part: str, quantity: int) -> list[dict[str, Any]]:
    """The suppliers that have a part."""
    await asyncio.sleep(0.4)
    return OFFERS


@tool
async def check_delivery(supplier: str, by: str) -> dict[str, Any]:
    """Whether a supplier delivers in time."""
    await asyncio.sleep(60 if supplier == "Tanaka Fasteners" else 0.3)
    return {"supplier": supplier, "by": by, "in_time": True}


@agent(
    "buyer",
    description="Compares what suppliers offer, and says which offer to take.",
    tools=[find_offers, check_delivery],
    streaming=True,
)
class Buyer:
    async def execute(self, context: AgentExecutionContext) -> None:
        """Stays at its last check until it is cancelled."""
        await context.think("I am looking for suppliers that have the part.")
        await context.tools.call("find_offers", part="M6 × 20, A2", quantity=15_000)
        await context.think("Four have it. Two are quick enough; I am checking whether they keep their dates.")
        async with context.stream() as stream:
            await stream.write("Four suppliers have the part. **Bauer & Sohn** delivers in 5 days at 4.35 a piece.\n\n")
            await context.tools.call("check_delivery", supplier="Bauer & Sohn", by="2026-12-01")
            await context.tools.call("check_delivery", supplier="Tanaka Fasteners", by="2026-12-01")
