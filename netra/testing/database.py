"""Reads a database beside the server that writes it, SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row


def rows(database: str | Path, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """What a query finds; `?` stands for a parameter. `database` is a file of SQLite or the URL of a PostgreSQL.

    Values are as the database has them: times are texts in the one and datetimes in the other.
    """
    if isinstance(database, Path):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]
    with psycopg.connect(database, row_factory=dict_row) as connected:
        return connected.execute(query.replace("%", "%%").replace("?", "%s").encode(), parameters).fetchall()
