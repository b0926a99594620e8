from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from netra.testing.database import rows
from netra.testing.postgresql import PostgresqlServer
from netra.testing.redis import RedisServer
from netra.testing.server import ROOT

STARTS_BOTH = """
import signal
from netra.testing.postgresql import PostgresqlServer
from netra.testing.redis import RedisServer
with RedisServer() as redis, PostgresqlServer() as postgresql:
    print(redis.pid, postgresql.pid, flush=True)
    signal.pause()
"""


def ping(server: RedisServer) -> bool:
    with closing(redis.Redis.from_url(server.url, socket_timeout=0.5, socket_connect_timeout=0.5)) as client:
        return bool(client.ping())


def ends(pid_descriptor: int) -> bool:
    return bool(select.select([pid_descriptor], [], [], 20)[0])


def test_redis_can_be_stopped_paused_killed_and_started_again():
    with RedisServer() as server:
        assert ping(server)

        server.stop()
        with pytest.raises(redis.ConnectionError):
            ping(server)

        server.start()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            ping(server)

        server.unpause()
        assert ping(server)

        server.kill()
        server.start()
        server.restart()
        assert ping(server)
        pid, folder = server.pid, server.folder
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()


def test_postgresql_keeps_what_was_committed_through_a_restart_and_a_crash():
    with PostgresqlServer() as server:
        url = server.create_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'ä%?'::text AS word, 1 AS number")

        server.restart()
        server.kill()
        server.start()

        assert rows(url, "SELECT * FROM kept WHERE number = ? AND word LIKE '%'", [1]) == [{"word": "ä%?", "number": 1}]
        assert rows(url, "SHOW server_encoding") == [{"server_encoding": "UTF8"}]
        assert server.create_database() != url


def test_the_fixtures_are_of_the_versions_that_netra_is_made_for(redis_server, postgresql_server):
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        assert client.info("server")["redis_version"].startswith("8.")
    (version,) = rows(postgresql_server.url, "SHOW server_version_num")
    assert version["server_version_num"].startswith("18")


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """For what a killed process leaves behind. pytest's own folders let nobody in but their owner."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def test_servers_end_with_the_process_that_started_them_even_if_it_is_killed(public_folder):
    command, environment = [sys.executable, "-c", STARTS_BOTH], os.environ | {"TMPDIR": str(public_folder)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        servers = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(servers) == 2

        parent.send_signal(signal.SIGKILL)

        assert [ends(server) for server in servers] == [True, True]
        for server in servers:
            os.close(server)


def test_a_server_of_yours_is_used_but_never_stopped(redis_server):
    with RedisServer(given=redis_server.url) as yours:
        assert ping(yours)
        with pytest.raises(AssertionError, match="This redis was not started here, but is yours"):
            yours.stop()
    assert ping(redis_server)


def test_what_does_not_start_says_why():
    with (
        pytest.raises(AssertionError, match=r"redis did not start:[\s\S]*no-such-option"),
        RedisServer("--no-such-option"),
    ):
        pass


def test_a_command_gets_a_database(postgresql_server):
    command = [sys.executable, "-c", "import os; print(os.environ['DATABASE_URL']); raise SystemExit(3)"]
    done = subprocess.run(
        [sys.executable, "-m", "netra.testing.postgresql", *command],
        cwd=ROOT,
        env=os.environ | {"NETRA_TEST_DATABASE_URL": postgresql_server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout.strip()) == (3, postgresql_server.url), done.stderr
