"""Frames for who may not see contents: what happened, when and how large it was, but not what was said. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

TOLD: Final = frozenset(
    {"status", "attempt", "duration_ms", "execution_time_ms", "is_complete", "step_number", "decision"}
)
"""What a frame's data keeps: numbers and words of Netra's own."""
_SNAPSHOT_HIDDEN: Final = ("message", "result", "error")


def veiled(text: str) -> str:
    """A frame without contents; what is no event and no gap has none."""
    frame: dict[str, Any] = msgspec.json.decode(text)
    if isinstance(frame.get("seq"), int) and isinstance(frame.get("data"), dict):
        frame["data"] = veiled_data(frame["data"])
        frame["bytes"] = len(text.encode())
    elif isinstance(frame.get("snapshot"), dict):
        frame["snapshot"] |= dict.fromkeys(_SNAPSHOT_HIDDEN)
    else:
        return text
    return msgspec.json.encode(frame).decode()


def veiled_data(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name in TOLD}
