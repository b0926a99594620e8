"""Where the language model is: the endpoint that the settings name, else the local model, else nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal, cast

import msgspec
from django.conf import settings

from agents.adapters.pydantic_ai import load
from agents.context import AgentExecutionContext
from agents.errors import AgentError
from agents.llm.local import get_local_model

ToolUse = Literal["NATIVE", "JSON", "NONE"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenAI-compatible endpoint. `tools`: calls of the API, calls as grammar-constrained JSON, or none.

    `history`: so many characters of the thread are handed to the model. `max_tokens` bounds one answer, `timeout` the
    seconds without a word of it.
    """

    base_url: str
    model: str
    api_key: str = ""
    tools: ToolUse = "NATIVE"
    history: int = 24_000
    max_tokens: int = 1_024
    timeout: float = 25.0
    temperature: float | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.model} at {self.base_url})"


def configured() -> Endpoint | None:
    """The endpoint that the settings name."""
    if not settings.NETRA_LLM_BASE_URL:
        return None
    return Endpoint(
        base_url=settings.NETRA_LLM_BASE_URL,
        model=settings.NETRA_LLM_MODEL,
        api_key=settings.NETRA_LLM_API_KEY,
        tools=cast("ToolUse", settings.NETRA_LLM_TOOLS),
        history=settings.NETRA_LLM_HISTORY_CHARACTERS,
        max_tokens=settings.NETRA_LLM_MAX_TOKENS,
        timeout=settings.NETRA_LLM_TIMEOUT_SECONDS,
    )


async def warm_up() -> None:
    """Starts the local model, and loads what talks to any model, before the first run needs it; where it cannot, the
    run will be told."""
    with suppress(AgentError):
        await asyncio.gather(load("agents.llm.openai_model"), *([] if configured() else [get_local_model().serve()]))


@asynccontextmanager
async def endpoint_for(context: AgentExecutionContext) -> AsyncIterator[Endpoint]:
    """The endpoint for one run. The local model has few seats: a run waits for one, and says so to its user.

    Raises AgentError: `no_model` where there is none, `busy` where too many wait already.
    """
    if (endpoint := configured()) is not None:
        yield endpoint
        return
    local = get_local_model()
    async with local.seats.take(lambda ahead: context.think(f"The local model is busy; runs before yours: {ahead}.")):
        if not local.is_running:
            await context.think("I am starting the local language model.")
        served, _ = await asyncio.gather(local.serve(), load("agents.llm.openai_model"))
        yield Endpoint(
            base_url=served.base_url,
            model=served.model,
            api_key=served.api_key,
            tools="JSON",
            history=2_000,
            max_tokens=256,
            timeout=settings.NETRA_LLM_TIMEOUT_SECONDS,
            temperature=0.3,
        )
