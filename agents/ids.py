"""Public ids: TypeIDs (a prefix that says what it names, then a UUIDv7 in base 32), sortable by creation.

See https://github.com/jetify-com/typeid for the format. Rows use bigint keys inside.
"""

from __future__ import annotations

from enum import StrEnum

from typeid import TypeID


class Prefix(StrEnum):
    RUN = "run"
    THREAD = "thread"
    TOOL_CALL = "tool"
    CONNECTION = "conn"
    MESSAGE = "msg"
    WORKER = "worker"
    CORRELATION = "corr"
    APPROVAL = "approval"


MAX_LENGTH = 40


def new_id(prefix: Prefix) -> str:
    """A fresh id such as `run_01jd3w3v6zf8qbm3w2k4h8s9ta`."""
    return str(TypeID(prefix=prefix.value))


def is_id(value: str, prefix: Prefix) -> bool:
    """Whether `value` is a well-formed id of that kind: a thread's id is no run's id."""
    if not value.startswith(f"{prefix}_") or len(value) != len(prefix) + 27:
        return False
    try:
        return TypeID.from_string(value).prefix == prefix
    except Exception:
        return False
