"""Reads settings from environment variables; a value that makes no sense is refused by name.

An empty variable counts as one that is not set, so that `PORT= make run` means the default.
"""

import contextlib
import os
import secrets
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
import msgspec
from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
MOST_SECONDS = 1_000_000_000
"""Some 30 years: what is longer cannot be added to a date."""

SQLITE_OPTIONS = {
    "timeout": 20,
    # A writer takes its lock at BEGIN, so it waits its turn instead of failing when it first writes.
    "transaction_mode": "IMMEDIATE",
    # Checkpoints are made beside the commits (agents.database.checkpoint); past 80 MB of log a commit makes one itself.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;"
    " PRAGMA wal_autocheckpoint=20000;",
}
# A server that is away is asked again after 1 and 2 s, and then whenever somebody needs it: psycopg's pool would double
# its pauses for five minutes, and Netra would stay deaf for as long again as the server was away.
POOL = {"min_size": 1, "timeout": 3, "reconnect_timeout": 2}
POSTGRESQL_OPTIONS = {
    "application_name": "netra",
    "connect_timeout": 3,
    # A link that broke without a word is noticed within some 10 s.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# Milliseconds. Who froze in a transaction must not keep its runs from being taken over.
POSTGRESQL_TIMES = {"lock_timeout": 5_000, "idle_in_transaction_session_timeout": 10_000}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool = False) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value not in TRUE | FALSE:
        raise refused(name, "1 or 0")
    return value in TRUE


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = text(name, default).upper()
    if value not in choices:
        raise refused(name, f"one of {', '.join(choices)}")
    return value


def integer(name: str, default: int, *, least: int = 1, most: int | None = None) -> int:
    expected = f"a whole number, {least} or more" if most is None else f"a whole number, {least} to {most}"
    try:
        value = int(text(name) or default)
    except ValueError:
        raise refused(name, expected) from None
    if value < least or (most is not None and value > most):
        raise refused(name, expected)
    return value


def seconds(name: str, default: float) -> float:
    expected = f"a number of seconds above 0, {MOST_SECONDS} at most"
    try:
        value = float(text(name) or default)
    except ValueError:
        raise refused(name, expected) from None
    if not 0 < value <= MOST_SECONDS:
        raise refused(name, expected)
    return value


def url(name: str) -> str:
    """The address under which HTTP endpoints are, without a slash at its end; empty when it is not set."""
    return endpoint(name).rstrip("/")


def endpoint(name: str) -> str:
    """The address of one HTTP endpoint, as it was given; empty when it is not set."""
    value = text(name)
    if not value:
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise refused(name, "an URL such as https://host/v1", secret=True) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused(name, "an URL such as https://host/v1", secret=True)
    return value


def names(name: str, default: list[str] | None = None) -> list[str]:
    """A comma-separated list."""
    given = [part.strip() for part in text(name).split(",") if part.strip()]
    return given or list(default or [])


def apps(name: str) -> list[str]:
    """Django apps, or their AppConfigs, by commas: of packages that can be found."""
    given = names(name)
    for app in given:
        package = app.partition(".")[0]
        if not package.isidentifier() or find_spec(package) is None:
            raise ImproperlyConfigured(
                f"{name} names {app!r}, and Python finds no {package!r} on its path. Is its folder in this one, or in"
                " PYTHONPATH?"
            )
    return given


def numbers_by_name(name: str) -> dict[str, dict[str, float]]:
    """A JSON object of JSON objects of numbers."""
    try:
        return msgspec.json.decode(text(name, "{}"), type=dict[str, dict[str, float]])
    except msgspec.MsgspecError:
        raise refused(name, """JSON such as {"free": {"run": 40}}""") from None


def folder(name: str, default: Path) -> Path:
    """A folder that only its owner may enter; created if it is not there."""
    path = Path(text(name, str(default))).expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{name} is {str(path)!r}, which cannot be used: {error.strerror}.") from error
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        who = f"the user of this process (uid {os.geteuid()})"
        raise ImproperlyConfigured(f"{name} is {str(path)!r}, where {who} may not write. Have it own the folder.")
    return path


def secret_file(path: Path) -> str:
    """The secret that the file holds, made once, even if several processes start at the same time."""
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(64))
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(draft, path)
        Path(draft).unlink()
    if not (secret := path.read_text().strip()):
        raise ImproperlyConfigured(f"{path} is empty. Delete it, and Netra makes a new key when it starts.")
    return secret


def database(
    name: str, default_file: Path, test_file: Path, *, connections: int = 20, statement_seconds: int = 30
) -> dict[str, Any]:
    """One entry of Django's DATABASES, tuned as Netra's way of writing needs it. What the URL says goes before.

    With PostgreSQL the process has so many connections at most, and no statement may take longer (0: any time).
    """
    url = text(name)
    if not url:
        config: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(default_file)}
    else:
        try:
            config = dict(dj_database_url.parse(url))
        except (ValueError, KeyError) as error:
            raise refused(name, "an URL such as postgres://user:password@host:5432/name", secret=True) from error
    engine = config["ENGINE"].rpartition(".")[2]
    if engine == "sqlite3":
        config["OPTIONS"] = SQLITE_OPTIONS | config.get("OPTIONS", {})
        config["TEST"] = {"NAME": str(test_file)}  # a file, so that all threads of a test see one database
    elif engine == "postgresql":
        times = POSTGRESQL_TIMES | {"statement_timeout": statement_seconds * 1_000}
        config["OPTIONS"] = {
            "pool": POOL | {"max_size": connections},
            "options": " ".join(f"-c {setting}={time}" for setting, time in times.items()),
            **POSTGRESQL_OPTIONS,
            **config.get("OPTIONS", {}),
        }
        config["CONN_MAX_AGE"] = 0  # the pool keeps the connections
        config["CONN_HEALTH_CHECKS"] = True
    else:
        raise ImproperlyConfigured(f"{name} names {engine}; Netra runs on postgres:// and sqlite:// only.")
    return config


def refused(name: str, expected: str, *, secret: bool = False) -> ImproperlyConfigured:
    """Values that may hold a password are not repeated."""
    given = "has a value that cannot be read" if secret else f"is {os.environ[name]!r}"
    return ImproperlyConfigured(f"The environment variable {name} {given}; expected {expected}.")
