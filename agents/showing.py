"""Arguments as people see them and as the log has them: JSON, without secrets, no larger than an event may be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from agents.bounds import cut_value, to_json_value
from agents.redaction import redact


def shown(arguments: Mapping[str, Any]) -> Any:
    """One that is not JSON is shown by its type."""
    value, _ = cut_value(redact({name: _plain(value) for name, value in arguments.items()}))
    return value


def digest_of(value: Any) -> str:
    """The same for the same JSON value, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]


def _plain(value: Any) -> Any:
    try:
        return to_json_value(value)
    except TypeError:
        return f"({type(value).__name__})"
