from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra
from tests.databases import VENDORS, empty_tables

LONG = ("slow", "browser", "e2e")

pytest_plugins = ["tests.honesty", "netra.testing.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("netra")
    group.addoption("--base-url", default="", help="the deployment to test, such as https://chat.example.org")
    group.addoption("--token", default="", help="an API token of a user there")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """DATABASE_URL says where the test database lives. A test about one database runs when it is that one; all that
    touch it get the mark `database`. Files that take long come first, so that no process has one left in the end."""
    others = [vendor for vendor in VENDORS if vendor != connection.vendor]
    left_out = [item for item in items if any(item.get_closest_marker(vendor) for vendor in others)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if isinstance(item, pytest.Function) and _touches_database(item):
            item.add_marker("database")
    yield
    long = Counter(item.path for item in items if _takes_long(item))
    items.sort(key=lambda item: -long[item.path])


def _takes_long(item: pytest.Item) -> bool:
    """Those with a server, or a browser."""
    needs_server = isinstance(item, pytest.Function) and "netra" in item.fixturenames
    return needs_server or any(item.get_closest_marker(mark) for mark in LONG)


def _touches_database(item: pytest.Function) -> bool:
    is_marked = item.get_closest_marker("django_db") is not None
    is_django = item.cls is not None and issubclass(item.cls, TransactionTestCase)
    return is_marked or is_django or not {"db", "transactional_db"}.isdisjoint(item.fixturenames)


TransactionTestCase._fixture_teardown = lambda case: empty_tables()  # type: ignore[attr-defined]
# Django's own takes a fifth of a second for each password, as it should, and an eighth of the time of all tests.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# How long an example takes says more of the machine than of Netra.
hypothesis.settings.register_profile("netra", deadline=None)
hypothesis.settings.load_profile("netra")


@pytest.fixture(scope="session")
def netra_environment() -> dict[str, str]:
    return {"NETRA_HEARTBEAT_SECONDS": "2"}


@pytest.fixture
def chat(netra: RunningNetra) -> Iterator[Chat]:
    """A socket of alice's."""
    with netra.connect() as chat:
        yield chat
