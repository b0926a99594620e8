"""A plain async generator of texts as an agent.

async def recite(context):
    for line in open_book(context.request.message):
        yield line

agent("reciter", streaming=True)(generator_agent(recite))
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from agents.context import AgentExecutionContext
from agents.errors import AgentRefused

Generate = Callable[[AgentExecutionContext], AsyncGenerator[str, None]]


def generator_agent(generate: Generate) -> type:
    """An agent class: each text that `generate(context)` yields is shown as it comes, all of them are the answer.

    Raises AgentRefused for what is no async generator function.
    """
    if not inspect.isasyncgenfunction(generate):
        raise AgentRefused(f"{generate!r} is no async generator function: `async def` with `yield` makes one")

    class GeneratorAgent:
        async def execute(self, context: AgentExecutionContext) -> str:
            texts = []
            async with aclosing(generate(context)) as generated, context.stream() as stream:
                async for text in generated:
                    await stream.write(text)
                    texts.append(text)
            return "".join(texts)

    GeneratorAgent.__doc__ = generate.__doc__
    return GeneratorAgent
