from __future__ import annotations

from collections.abc import Iterator

import pytest

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra

pytest_plugins = ["tests.honesty", "netra.testing.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("netra")
    group.addoption("--base-url", default="", help="the deployment to test, such as https://chat.example.org")
    group.addoption("--token", default="", help="an API token of a user there")


@pytest.fixture(scope="session")
def netra_environment() -> dict[str, str]:
    return {"NETRA_HEARTBEAT_SECONDS": "2"}


@pytest.fixture
def chat(netra: RunningNetra) -> Iterator[Chat]:
    """A socket of alice's."""
    with netra.connect() as chat:
        yield chat
