"""The one place where async code crosses into the database.

Queries run on threads of Netra's own: asgiref's shared thread would let one slow query hold up every socket of the
process (channels#2132). With PostgreSQL a connection goes back to the pool after each call.

Transactions that write several rows lock them in the order of their keys, and users before runs: with PostgreSQL two
that did it in different orders would wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

import structlog
from django.contrib.auth import get_user_model
from django.db import Error, InterfaceError, OperationalError, ProgrammingError, connection

P = ParamSpec("P")
R = TypeVar("R")

AWAY: Final = (OperationalError, InterfaceError)
"""What Django raises when the database cannot be reached or is locked: try again, nothing was written."""

RETRY_SECONDS: Final = 0.5

MOVED_AWAY: Final = frozenset({"25006", "25P03", "25P04"})
"""SQLSTATEs of PostgreSQL that Django does not take for an OperationalError, though another try may go well: a standby
was asked (a fail-over is under way), or the transaction was idle or open for too long."""

REFUSED_FOR_GOOD: Final = "54"
"""The class of SQLSTATEs that say that a limit of PostgreSQL was passed."""

log = structlog.get_logger(__name__)

_POOL: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="netra-database")


def call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs a transaction function in this thread and leaves no broken or idle connection behind."""
    try:
        return call_and_keep(function, *args, **kwargs)
    finally:
        if connection.vendor != "sqlite":
            connection.close()


def call_and_keep(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """As `call`, but keeps a sound connection open for the next one."""
    try:
        return function(*args, **kwargs)
    except Error as error:
        state = getattr(error.__cause__, "sqlstate", None) or ""
        if isinstance(error, AWAY) or state in MOVED_AWAY:
            _let_go(error)
        if state in MOVED_AWAY:
            raise OperationalError(str(error)) from error
        if getattr(error.__cause__, "sqlite_errorname", "") == "SQLITE_ERROR" or state.startswith(REFUSED_FOR_GOOD):
            raise ProgrammingError(str(error)) from error  # wrong SQL or a missing table: no use in trying again
        raise


def _let_go(error: Error) -> None:
    """Closes this thread's connection; if it was lost, so are those that wait in the pool.

    The pool would look at one after the other, and sleep in between, for longer than anybody waits.
    """
    pool = getattr(connection, "pool", None)
    is_broken = getattr(connection.connection, "broken", False)
    connection.close()
    if pool is not None:
        from psycopg_pool import PoolTimeout  # noqa: PLC0415 - not for whom SQLite is enough: each start would pay

        if is_broken or isinstance(error.__cause__, PoolTimeout):
            pool.drain()


def lock_users(user_ids: Collection[int]) -> None:
    """Until this transaction's end nobody else counts these users' runs. (With SQLite nobody else writes anyway.)"""
    if connection.features.has_select_for_update:
        users = get_user_model().objects.select_for_update(no_key=True).filter(pk__in=user_ids)
        list(users.order_by("pk").values_list("pk"))


def lock_free_users(user_ids: Collection[int]) -> set[int]:
    """As lock_users, for those of them whom nobody else holds; who they are."""
    users = get_user_model().objects.select_for_update(no_key=True, skip_locked=True).filter(pk__in=user_ids)
    return set(users.order_by("pk").values_list("pk", flat=True))


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Awaits a transaction function; its exceptions come through."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, lambda: call(function, *args, **kwargs))


class OwnThread:
    """A thread and a connection apart from everybody's, for who may not wait behind other queries."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"netra-{name}")

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `in_database`. A call that is cancelled before its turn is never made."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: call(function, *args, **kwargs))

    def close(self) -> None:
        """Gives the connection back when the last call has returned; waits for nothing."""
        self._executor.submit(lambda: connection.close())  # noqa: PLW0108 - the connection of that thread
        self._executor.shutdown(wait=False)


async def patiently(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """As `in_database`, but waits for a database that is away."""
    while True:
        try:
            return await in_database(function, *args, **kwargs)
        except AWAY as error:
            log.warning("database away", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)


def checkpoint() -> None:
    """Brings SQLite's write-ahead log into its database file, without holding up readers or the journal.

    A commit that had to do it would keep its events waiting for the disk.
    """
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        cursor.fetchall()
