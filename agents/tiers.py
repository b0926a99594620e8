"""What a user's tier allows: one table of numbers, in seconds, checked when Netra starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in seconds: the whole run, the longest silence in it, one tool call, an answer to an approval."""

    name: str
    run: float
    no_progress: float
    tool: float
    approval: float


TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier(name="free", run=40, no_progress=35, tool=30, approval=300),
        Tier(name="early", run=50, no_progress=40, tool=35, approval=600),
        Tier(name="mid", run=60, no_progress=50, tool=45, approval=900),
        Tier(name="platform", run=120, no_progress=90, tool=80, approval=1800),
        Tier(name="enterprise", run=300, no_progress=180, tool=150, approval=3600),
    )
}


def build_tiers(overrides: Mapping[str, Mapping[str, float]]) -> dict[str, Tier]:
    """The table with a deployment's numbers put in; raises KeyError or TypeError for a name it does not know."""
    table = dict(TIERS)
    for name, numbers in overrides.items():
        table[name] = msgspec.structs.replace(table[name], **numbers)
    return table


def problems(table: Mapping[str, Tier]) -> Iterator[str]:
    """What makes the table senseless, a sentence each; nothing when it is sound."""
    for tier in table.values():
        if min(tier.run, tier.no_progress, tier.tool, tier.approval) <= 0:
            yield f"tier {tier.name}: every limit must be above 0 seconds"
        if not tier.tool < tier.no_progress < tier.run:
            numbers = f"tool ({tier.tool:g}) < no_progress ({tier.no_progress:g}) < run ({tier.run:g})"
            yield f"tier {tier.name}: {numbers} must hold"
