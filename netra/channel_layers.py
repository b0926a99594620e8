"""The channel layer that the environment asks for: this process's memory, one Redis or several, or Sentinel's."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from netra import environment

LAYER_FAULTS: Final = ("drop", "duplicate", "reorder", "delay")
SENTINEL_PORT: Final = 26379
EXPECTED: Final = (
    "redis://host:6379/0, several of them with commas between, or redis+sentinel://host:26379,host:26379/master?db=0"
)


def channel_layer(name: str, *, secret_key: str) -> dict[str, Any]:
    """One entry of CHANNEL_LAYERS: Redis if the variable says where it is, else the memory of this process.

    Redis tells everybody what is published, whichever its database number: two Netras on one Redis are kept apart by
    a name that follows from their secret key, which all processes of one share.
    """
    if not environment.text(name):
        return {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            # A day: an expired, unread message would take its socket out of all groups.
            "CONFIG": {"capacity": 10_000, "expiry": 86_400},
        }
    digest = sha256(f"channel layer {secret_key}".encode()).hexdigest()
    return {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": redis_hosts(name), "prefix": f"netra-{digest[:16]}-"},
    }


def redis_hosts(name: str) -> list[dict[str, Any]]:
    """The Redis servers that the variable names, over which users are spread; with Sentinel one, its master."""
    try:
        value = environment.text(name)
        if value.startswith("redis+sentinel://"):
            return [_master_of(urlsplit(value)) | _options()]
        hosts = [{"address": _address(url)} | _options() for url in environment.names(name)]
    except ValueError as error:
        raise environment.refused(name, EXPECTED, secret=True) from error
    return hosts


def faulty_layer(name: str, layer: dict[str, Any], *, is_test: bool) -> dict[str, Any]:
    """The entry of CHANNEL_LAYERS, in the test kit's fault injector if the variable says how often it fails."""
    if not environment.text(name):
        return layer
    if not is_test:
        raise ImproperlyConfigured(f"{name} has the channel layer fail, for tests: set NETRA_TEST_AGENTS=1 too.")
    expected = f"probabilities, together 1 at most, of {', '.join(LAYER_FAULTS)}, such as drop=0.2,delay=0.1"
    pairs = [part.partition("=") for part in environment.names(name)]
    try:
        faults = {fault.strip(): float(value) for fault, _, value in pairs}
    except ValueError:
        raise environment.refused(name, expected) from None
    are_probabilities = all(value >= 0 for value in faults.values()) and round(sum(faults.values()), 9) <= 1
    if not are_probabilities or not faults.keys() <= set(LAYER_FAULTS):
        raise environment.refused(name, expected)
    return {"BACKEND": "netra.testing.layers.FaultyLayer", "CONFIG": {"inner": layer, **faults}}


def _options() -> dict[str, Any]:
    """For each connection: nothing waits for ever on a half-open link, and what fails fails at once."""
    # Loaded for whom it is for: every start would pay for it.
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    # Longer than the layer's blocking reads of 5 s.
    return {"socket_timeout": 15, "socket_connect_timeout": 3, "retry": Retry(NoBackoff(), 1)}


def _address(url: str) -> str:
    given = urlsplit(url)
    if given.scheme not in {"redis", "rediss", "unix"} or not (given.hostname or given.scheme == "unix"):
        raise ValueError(url)
    _ = given.port  # raises ValueError
    return url


def _master_of(given: SplitResult) -> dict[str, Any]:
    credentials, _, servers = given.netloc.rpartition("@")
    sentinels = [urlsplit(f"//{server}") for server in servers.split(",")]
    key, _, number = given.query.partition("=")
    master = given.path.strip("/")
    if not master or not all(server.hostname for server in sentinels) or key not in {"", "db"}:
        raise ValueError(given)
    user, _, password = credentials.partition(":")
    return {
        "sentinels": [(server.hostname, server.port or SENTINEL_PORT) for server in sentinels],
        "master_name": unquote(master),
        "db": int(number or 0),
        **({"username": unquote(user)} if user else {}),
        **({"password": unquote(password)} if password else {}),
        "sentinel_kwargs": {"socket_timeout": 3, "socket_connect_timeout": 3},
    }
