from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.runs import Workshop


@pytest.fixture
async def workshop(transactional_db: None) -> AsyncIterator[Workshop]:
    """The real parts that execute runs, on the test database."""
    shop = Workshop()
    yield shop
    await shop.close()
