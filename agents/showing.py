"""Arguments as people see them and as the log has them: JSON, without secrets, no larger than an event may be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agents.bounds import cut_value, to_json_value
from agents.redaction import REDACTED, is_secret_key, redact

_CUT_NOTE: Final = re.compile(r"… \[cut, [\d,]+ characters in all\]\Z")
MODEL_BYTES: Final = 20_000
"""No tool's result reaches a model with more."""
_EXTRACT: Final = {"cut", "bytes", "json_extract"}


def shown(arguments: Mapping[str, Any]) -> Any:
    """One that is not JSON is shown by its type."""
    value, _ = cut_value(redact({name: _plain(value) for name, value in arguments.items()}))
    return value


def for_model(result: object) -> Any:
    """A tool's result as a language model's endpoint may have it: without secrets, and of a size that it can read."""
    value, _ = cut_value(redact(to_json_value(result)), MODEL_BYTES)
    return value


def is_whole(value: Any) -> bool:
    """Whether a value that was shown is the value: nothing in it was redacted or cut."""
    if isinstance(value, str):
        return _CUT_NOTE.search(value) is None
    if isinstance(value, dict):
        secret = any(item == REDACTED and is_secret_key(key) for key, item in value.items())
        return not secret and value.keys() != _EXTRACT and all(map(is_whole, value.values()))
    return not isinstance(value, list) or all(map(is_whole, value))


def digest_of(value: Any) -> str:
    """The same for the same JSON value, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]


def _plain(value: Any) -> Any:
    try:
        return to_json_value(value)
    except TypeError:
        return f"({type(value).__name__})"
