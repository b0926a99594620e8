"""Tells the workers of all processes that there is something to do: PostgreSQL's NOTIFY, as part of what it tells of.

A notice only saves time. Workers look for waiting runs every second, and for cancels whenever they renew their leases.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import structlog
from django.db import connection

CHANNEL: Final = "netra_runs"
CONNECT_SECONDS: Final = 5
RING_SQL: Final = f"pg_notify('{CHANNEL}', 'ring ' || {{}})"
"""`notice_ring` within a statement, of the run whose id takes the place of the braces."""
QUIET_SECONDS: Final = 10.0
"""After so long without a notice the connection is asked whether it is still one."""
AGAIN_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Hearer(Protocol):
    def enqueue(self, run_id: str) -> None: ...

    def cancel(self, run_id: str) -> None: ...

    def leave(self, run_id: str) -> None: ...

    def ring(self, run_id: str) -> None: ...


def notice_pending(run_id: str) -> None:
    """A run waits. With a database other than PostgreSQL there are no other processes to tell."""
    _notify(f"pending {run_id}")


def notice_cancel(run_id: str) -> None:
    """A run is to be cancelled."""
    _notify(f"cancel {run_id}")


def notice_leave(run_id: str) -> None:
    """Whoever executes a run is to leave it: it has ended, or is anybody's."""
    _notify(f"leave {run_id}")


def notice_ring(run_id: str) -> None:
    """Something happened for which a run waits."""
    _notify(f"ring {run_id}")


def _notify(text: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, text])


async def pass_on_notices(hearer: Hearer) -> None:
    """Hands notices to a runner of this process, for ever; the connection is made anew whenever it is lost."""
    from psycopg import Error  # noqa: PLC0415 - not for whom SQLite is enough: each start would pay

    while True:
        try:
            await _listen(hearer)
        except (Error, OSError, TimeoutError) as error:
            log.warning("notices not heard", error=repr(error))
        await asyncio.sleep(AGAIN_SECONDS)


async def _listen(hearer: Hearer) -> None:
    from psycopg import AsyncConnection  # noqa: PLC0415

    async with await AsyncConnection.connect(**_parameters(), autocommit=True) as listening:
        await listening.execute(f"LISTEN {CHANNEL}")
        hearer.enqueue("")  # whatever was told before
        while True:
            async for notice in listening.notifies(timeout=QUIET_SECONDS):
                kind, _, run_id = notice.payload.partition(" ")
                match kind:
                    case "cancel":
                        hearer.cancel(run_id)
                    case "leave":
                        hearer.leave(run_id)
                    case "ring":
                        hearer.ring(run_id)
                    case _:
                        hearer.enqueue(run_id)
            async with asyncio.timeout(CONNECT_SECONDS):
                await listening.execute("SELECT 1")


def _parameters() -> dict[str, Any]:
    """Django's own parameters of this database, but for what is for its connections only."""
    given = connection.get_connection_params()
    own = {key: value for key, value in given.items() if key not in {"context", "cursor_factory", "pool"}}
    return own | {"connect_timeout": CONNECT_SECONDS, "prepare_threshold": None}
