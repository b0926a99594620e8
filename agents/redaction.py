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
