"""Agents in a row: each is told what came before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agents.context import AgentExecutionContext
from agents.errors import ChildFailed

Message = str | Callable[[Sequence[Any]], str]


class Stage(msgspec.Struct, frozen=True):
    """A child run of a pipeline. `message` may be a function of the outputs so far; `timeout` in seconds."""

    agent: str
    message: Message
    params: dict[str, Any] = {}
    timeout: float | None = None


async def run_pipeline(context: AgentExecutionContext, stages: Sequence[Stage], *, go_on: bool = False) -> list[Any]:
    """Runs one stage after the other, each as a child run, and returns their outputs.

    The first that fails ends it: ChildFailed is raised. With `go_on` the rest is run nonetheless, and where an output
    is missing the list has the ChildFailed; later stages find it among the outputs that they are given.
    """
    outputs: list[Any] = []
    for stage in stages:
        message = stage.message if isinstance(stage.message, str) else stage.message(tuple(outputs))
        try:
            outputs.append(await context.run_agent(stage.agent, message, params=stage.params, timeout=stage.timeout))
        except ChildFailed as failure:
            if not go_on:
                raise
            outputs.append(failure)
    return outputs
