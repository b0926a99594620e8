"""pytest fixtures of a running Netra, and of servers for it.

In your top conftest.py: `pytest_plugins = ["netra.testing.plugin"]`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from netra.testing.chat import Chat
from netra.testing.postgresql import PostgresqlServer
from netra.testing.redis import RedisServer
from netra.testing.server import RunningNetra
from netra.testing.users import User


@pytest.fixture(scope="session")
def netra_environment() -> dict[str, str]:
    """The settings of `netra`. Override it: a session fixture of this name that returns environment variables."""
    return {}


@pytest.fixture(scope="session")
def netra(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, netra_environment: dict[str, str]
) -> Iterator[RunningNetra]:
    """A running Netra that all tests share; a test that breaks it starts its own. It finds apps in pytest's rootdir."""
    path = os.pathsep.join(filter(None, [str(pytestconfig.rootpath), os.environ.get("PYTHONPATH")]))
    with RunningNetra(tmp_path_factory.mktemp("netra"), **{"PYTHONPATH": path, **netra_environment}) as netra:
        yield netra


@pytest.fixture
def netra_user(netra: RunningNetra) -> User:
    """Somebody new, without threads and runs."""
    return netra.new_user()


@pytest.fixture
def netra_chat(netra: RunningNetra, netra_user: User) -> Iterator[Chat]:
    """A socket of `netra_user`, which has read its first frame."""
    with netra.connect(netra_user.token) as chat:
        yield chat


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that all tests share, or that of NETRA_TEST_REDIS_URL; a test that breaks it starts its own."""
    with RedisServer(given=os.environ.get("NETRA_TEST_REDIS_URL", "")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL that all tests share, or that of NETRA_TEST_DATABASE_URL; each takes a database of its own."""
    with PostgresqlServer(os.environ.get("NETRA_TEST_DATABASE_URL", "")) as server:
        yield server
