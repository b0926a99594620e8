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


def restore(shown: Mapping[str, object], original: Mapping[str, object]) -> dict[str, object]:
    """What a person made of redacted values, with the secrets that they left as they were put back."""
    return {
        key: original[key]
        if value == REDACTED and key in original and is_secret_key(key)
        else _restored(value, original.get(key))
        for key, value in shown.items()
    }


def _restored(value: object, original: object) -> object:
    if isinstance(value, Mapping) and isinstance(original, Mapping):
        return restore(value, original)
    if isinstance(value, list) and isinstance(original, list | tuple) and len(value) == len(original):
        return [_restored(*pair) for pair in zip(value, original, strict=True)]
    return value


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
