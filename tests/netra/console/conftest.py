from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.operators import emptied_audit
from tests.runs import Workshop


@pytest.fixture
def audit(transactional_db: None) -> Iterator[None]:
    with emptied_audit():
        yield


@pytest.fixture
async def workshop(transactional_db: None) -> AsyncIterator[Workshop]:
    """The real parts that execute runs, on the test database."""
    shop = Workshop()
    yield shop
    await shop.close()
