"""pydantic-ai's model for an endpoint. Imported beside the event loop, see agents.adapters.pydantic_ai.load."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx2
from openai import AsyncOpenAI
from pydantic_ai import ModelSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agents.llm.endpoint import Endpoint

RETRIES: Final = 2
"""A request that failed before its answer began is sent again so often: no connection, 408, 409, 429 and 5xx."""
CONNECT_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 5.0
"""An endpoint that asks for a longer wait than this fails the run at once; its user is told how long to wait."""

_TLS: Final = ssl.create_default_context()  # reading the certificates takes too long to be done for each run


@asynccontextmanager
async def open_model(endpoint: Endpoint) -> AsyncIterator[OpenAIChatModel]:
    """The model, with a connection of its own for as long as it is open."""
    limits = httpx2.Timeout(endpoint.timeout, connect=min(CONNECT_SECONDS, endpoint.timeout))
    async with httpx2.AsyncClient(
        verify=_TLS, timeout=limits, event_hooks={"response": [_refuse_long_waits]}, trust_env=not _is_here(endpoint)
    ) as connection:
        client = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key or "none",
            http_client=connection,
            timeout=limits,
            max_retries=RETRIES,
        )
        settings = ModelSettings(max_tokens=endpoint.max_tokens, first_event_timeout=endpoint.timeout)
        if endpoint.temperature is not None:
            settings["temperature"] = endpoint.temperature
        yield OpenAIChatModel(endpoint.model, provider=OpenAIProvider(openai_client=client), settings=settings)


def _is_here(endpoint: Endpoint) -> bool:
    """No proxy that the environment names can reach this machine's own 127.0.0.1."""
    return urlsplit(endpoint.base_url).hostname in ("127.0.0.1", "localhost", "::1")


async def _refuse_long_waits(response: httpx2.Response) -> None:
    """Tells the client not to retry what it would have to wait for so long that the run looks stuck."""
    asked = response.headers.get("retry-after", "")
    if asked and not (asked.isdigit() and int(asked) <= PATIENCE_SECONDS):
        response.headers["x-should-retry"] = "false"
