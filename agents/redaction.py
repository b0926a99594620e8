"""Values under telling keys are replaced in every event and wherever a request is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "[redacted]"

_TELLING_PARTS = (
    "password",
    "passwd",
    "secret",
    "apikey",
    "api_key",
    "authorization",
    "credential",
    "cookie",
    "private_key",
)
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")


def is_secret_key(key: str) -> bool:
    """Whether protocol.md redacts the value under this key: by parts of its name, or `token` as a word of it."""
    words = [word.lower() for word in _WORD_BREAK.split(key) if word]
    spellings = (key.lower(), "_".join(words))
    return "token" in words or any(part in spelling for part in _TELLING_PARTS for spelling in spellings)


def restore(
    edited: Mapping[str, object], shown: Mapping[str, object], original: Mapping[str, object]
) -> dict[str, object]:
    """What a person made of values that they were shown, redacted or cut: what they left as it was is the original."""
    return {
        key: _restored(value, shown[key], original[key]) if key in shown and key in original else value
        for key, value in edited.items()
    }


def _restored(edited: object, shown: object, original: object) -> object:
    if edited == shown:
        return original
    if isinstance(edited, Mapping) and isinstance(shown, Mapping) and isinstance(original, Mapping):
        return restore(edited, shown, original)
    if isinstance(edited, list) and isinstance(shown, list) and isinstance(original, list | tuple):
        same_length = len(edited) == len(shown) == len(original)
        return [_restored(*each) for each in zip(edited, shown, original, strict=True)] if same_length else edited
    return edited


def redact(value: object) -> object:
    """A copy of a JSON value with every secret in it replaced by "[redacted]", at any depth."""
    if isinstance(value, Mapping):
        return {
            key: REDACTED if isinstance(key, str) and is_secret_key(key) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value
