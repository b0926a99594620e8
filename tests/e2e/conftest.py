"""A deployment, wherever it runs; and the chat page in Chromium.

Each file of browser tests has one browser, and one log-in that its tests share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from netra.testing.chat import Chat
from netra.testing.server import RunningNetra
from tests.e2e.chat_page import EVENTUALLY_MS, is_live
from tests.e2e.chromium import launched
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def signed_in(browser: Browser, netra: RunningNetra) -> Any:
    """The cookies of somebody who has opened a log-in link."""
    context = browser.new_context()
    context.new_page().goto(netra.login_url())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Browser, signed_in: Any) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1100, "height": 820}, storage_state=signed_in)
    context.set_default_timeout(EVENTUALLY_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, netra: RunningNetra) -> Page:
    """The chat, live."""
    page = context.new_page()
    page.goto(netra.url)
    is_live(page)
    return page
