from __future__ import annotations

from collections.abc import Iterator

import pytest

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra
from tests.e2e.deployment import Deployment, require_scripted


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """What --base-url and --token name; without them a server of this machine's own."""
    url, token = request.config.getoption("--base-url"), request.config.getoption("--token")
    if not url:
        netra: RunningNetra = request.getfixturevalue("netra")
        url, token = netra.url, netra.token
    if not token:
        raise pytest.UsageError("--base-url needs --token: an API token of a user there (manage.py create_token).")
    deployment = Deployment(url.rstrip("/"), token)
    require_scripted(deployment)
    return deployment


@pytest.fixture
def user_chat(deployment: Deployment) -> Iterator[Chat]:
    """A socket of the deployment's user."""
    with deployment.connect() as chat:
        yield chat
