"""What comes from agents and tools is cut to a size that a frame can carry, and says so."""

from __future__ import annotations

from typing import Any, Final

import msgspec

MAX_VALUE_BYTES: Final = 200_000
"""For one value in an event, as JSON; leaves room for the rest of the frame below events.MAX_FRAME_BYTES."""
MAX_LABEL_BYTES: Final = 500

MAX_DEPTH: Final = 64
"""Levels of lists and objects in a value; whatever walks through it must not run out of stack."""

UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""What msgspec raises for a value that is not JSON."""

_encode = msgspec.json.Encoder().encode


def is_too_deep(value: object) -> bool:
    """Whether a JSON value is nested deeper than MAX_DEPTH."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def to_json_value(value: object) -> Any:
    """The value as plain JSON types (dataclasses, dates and sets included); raises TypeError if it is not JSON."""
    try:
        plain = msgspec.json.decode(_encode(value))
    except UNENCODABLE as error:
        raise TypeError(f"{type(value).__name__} is not JSON: {error}") from error
    if is_too_deep(plain):
        raise TypeError(f"{type(value).__name__} is nested deeper than {MAX_DEPTH} levels")
    return plain


def cut_text(text: str, limit: int = MAX_VALUE_BYTES) -> str:
    """The text, or as much of its beginning as fits into `limit` bytes of JSON, with a note at its end."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) * 6 <= limit or len(_encode(text)) <= limit:
        return text
    note = f"… [cut, {len(text):,} characters in all]"
    return _beginning(text, limit - len(_encode(note)) + 2) + note


def cut_value(value: Any, limit: int = MAX_VALUE_BYTES) -> tuple[Any, bool]:
    """A JSON value and whether it had to be cut: a text to its beginning, anything else to an extract of its JSON."""
    encoded = _encode(value)
    if len(encoded) <= limit:
        return value, False
    if isinstance(value, str):
        return cut_text(value, limit), True
    extract = _beginning(encoded.decode(), limit - 200)
    return {"cut": True, "bytes": len(encoded), "json_extract": extract}, True


def split_text(text: str, limit: int = MAX_VALUE_BYTES) -> list[str]:
    """The text in pieces that each fit into `limit` bytes of JSON; joined they are the text again."""
    pieces = []
    while len(text) * 6 > limit and len(_encode(text)) > limit:
        piece = _beginning(text, limit)
        pieces.append(piece)
        text = text[len(piece) :]
    return [*pieces, text]


def _beginning(text: str, limit: int) -> str:
    """The longest beginning whose JSON has at most `limit` bytes."""
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_encode(text[:middle])) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low]
