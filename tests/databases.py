"""What tests do to the test database as a whole, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final

import psycopg
from django.db import connection, connections, transaction
from psycopg import sql
from psycopg.conninfo import make_conninfo

from agents import database
from agents.keeping import keep_rows, release_rows
from agents.models import OperatorAction

KEPT: Final = {"auth_permission", "django_content_type", "django_migrations"}
"""What migrating puts into the database; tests do not change it."""
CALLS_SECONDS: Final = 30.0
VENDORS: Final = ("sqlite", "postgresql")
"""Also marks: tests with one of them are about that database."""


def empty_tables() -> None:
    """What Django's `flush` does after each test with transactions, in a tenth of the time. That truncates, and then
    makes content types and permissions anew."""
    _await_calls()
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    if OperatorAction.objects.exists():
        empty_audit()
    with transaction.atomic(), connection.cursor() as cursor:
        for table in set(tables) - KEPT:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608 - our tables


def _await_calls() -> None:
    """Until every thread of agents.database has done what was asked of it. A call that outlived its test would find the
    database shut for tests, and leave its connection in a transaction: the next test's writes would fail at random."""
    threads = database._POOL._max_workers
    all_free = threading.Barrier(threads)
    for call in [database._POOL.submit(all_free.wait, CALLS_SECONDS) for _ in range(threads)]:
        call.result()


def empty_audit() -> None:
    """The one table whose rows the database keeps."""
    table = OperatorAction._meta.db_table
    with connection.schema_editor() as editor:
        release_rows(table, editor)
        editor.execute(f"DELETE FROM {table}")  # noqa: S608 - our table
        keep_rows(table, editor)


@contextmanager
def database_away() -> Iterator[None]:
    """The database does not serve: SQLite is locked by another program, PostgreSQL ends all sessions and takes none."""
    with _locked() if connection.vendor == "sqlite" else _shut():
        yield


@contextmanager
def _locked() -> Iterator[None]:
    other = connections.create_connection("default")
    other.inc_thread_sharing()
    other.cursor().execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@contextmanager
def _shut() -> Iterator[None]:
    name = connection.settings_dict["NAME"]
    with elsewhere() as server:
        server.execute(_alter(name, "false"))
        terminate_sessions(server, name)
        try:
            yield
        finally:
            server.execute(_alter(name, "true"))


@contextmanager
def elsewhere() -> Iterator[psycopg.Connection]:
    """A session in another database of the same PostgreSQL."""
    at = connection.settings_dict
    where = make_conninfo(
        host=at["HOST"], port=at["PORT"], user=at["USER"], password=at["PASSWORD"] or None, dbname="postgres"
    )
    with psycopg.connect(where, autocommit=True) as server:
        yield server


def terminate_sessions(server: psycopg.Connection, name: str) -> int:
    """Ends all sessions of a database, as a restart does; returns how many there were."""
    ended = server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    return len(ended.fetchall())


def _alter(name: str, allowed: str) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.SQL(allowed))


@contextmanager
def poisoned(pk: int, type_: str = "") -> Iterator[None]:
    """The database refuses events of one run, or those of one type."""
    if connection.vendor == "sqlite":
        # A name of its own: another thread's connection may remember an earlier one, though it is dropped.
        which = f"NEW.execution_id = {pk} AND '{type_}' IN ('', NEW.type)"
        begin = (
            f"CREATE TRIGGER poison_{pk} BEFORE INSERT ON agents_executionevent WHEN {which}"
            " BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        end = f"DROP TRIGGER poison_{pk}"
    else:
        sound = f"execution_id <> {pk} OR '{type_}' NOT IN ('', type)"
        begin = f"ALTER TABLE agents_executionevent ADD CONSTRAINT poison CHECK ({sound})"
        end = "ALTER TABLE agents_executionevent DROP CONSTRAINT poison"
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(end)


def enter(manager: AbstractContextManager[None]) -> Callable[[], None]:
    """Enters in the calling thread and returns what leaves."""
    stack = ExitStack()
    stack.enter_context(manager)
    return stack.close
