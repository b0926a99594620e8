"""Any pydantic-ai agent as an agent of Netra. pydantic-ai itself is loaded by the first run that needs it.

def build(context):
    from pydantic_ai import Agent
    return Agent("openai:gpt-5.2", instructions="You are a poet.")

agent("poet", streaming=True)(pydantic_agent(build))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from agents.adapters.loading import load_beside
from agents.context import AgentExecutionContext

if TYPE_CHECKING:
    from pydantic_ai import Agent, ModelMessage
    from pydantic_ai.usage import UsageLimits

Build = Callable[[AgentExecutionContext], "Agent[Any, Any]"]


async def load(module: str = "agents.adapters.pydantic_run") -> None:
    """Imports what needs pydantic-ai beside the event loop: it takes seconds. Raises AgentError if it is not there."""
    await load_beside(module, name="pydantic-ai", install="pydantic-ai-slim[openai]")


async def run_pydantic_agent(
    agent: Agent[Any, Any],
    context: AgentExecutionContext,
    prompt: str,
    *,
    history: Iterable[ModelMessage] = (),
    deps: Any = None,
    usage_limits: UsageLimits | None = None,
    offer_tools: bool = True,
) -> Any:
    """Runs it as a part of this run and returns its output: for a text all that was shown of it, else plain JSON.

    Its model is offered its own tools and, with `offer_tools`, those with which the agent of this run was registered.
    Raises AgentError with one of the codes `model_…` (docs/models.md) for whatever goes wrong between it and its model.
    """
    await load()
    from agents.adapters.pydantic_run import run  # noqa: PLC0415 - see load

    return await run(
        agent, context, prompt, history=history, deps=deps, usage_limits=usage_limits, offer_tools=offer_tools
    )


def pydantic_agent(
    build: Build,
    *,
    deps: Callable[[AgentExecutionContext], Any] | None = None,
    usage_limits: UsageLimits | None = None,
) -> type:
    """An agent class that runs what `build(context)` returns on the message of its request."""

    class PydanticAgent:
        async def execute(self, context: AgentExecutionContext) -> Any:
            await load()
            return await run_pydantic_agent(
                build(context),
                context,
                context.request.message,
                deps=deps(context) if deps else None,
                usage_limits=usage_limits,
            )

    return PydanticAgent
