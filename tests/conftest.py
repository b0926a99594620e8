from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Chat, LiveNetra

pytest_plugins = ["tests.honesty"]


@pytest.fixture(scope="session")
def live_netra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNetra]:
    """A running Netra that all tests share; those that kill it start their own."""
    with LiveNetra(tmp_path_factory.mktemp("netra"), NETRA_HEARTBEAT_SECONDS="2") as netra:
        yield netra


@pytest.fixture
def chat(live_netra: LiveNetra) -> Iterator[Chat]:
    """A socket of alice's."""
    with live_netra.connect() as chat:
        yield chat
