"""How the console says times and numbers."""

from __future__ import annotations


def spell(seconds: float) -> str:
    """A length of time, as short as it can be said: 0.4 s, 42 s, 3 min, 5 h, 2 d."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size):,} {unit}"
    return f"{seconds:.0f} s"
