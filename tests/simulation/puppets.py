"""An agent that does what it is told, step by step, and remembers what it said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Literal

from agents.context import AgentExecutionContext, AnswerStream
from agents.errors import AgentError
from agents.tools import tool
from tests.simulation.loop import Process, State, current_process

Order = Literal["think", "write", "begin tool", "end tool", "fail tool"]
End = Literal["answer", "nothing", "refuse", "crash", "no JSON"]


class Puppet:
    """One attempt at one run. `thoughts` and `text` are what it began to say, in order."""

    everyone: list[Puppet]
    """Those that live or have lived in one world."""

    def __init__(self) -> None:
        self.process: Process = current_process()
        self.thoughts: list[str] = []
        self.text = ""
        self._orders: asyncio.Queue[Order | tuple[End]] = asyncio.Queue()
        self._tools: list[asyncio.Future[None]] = []
        self._calls: set[asyncio.Task[Any]] = set()
        self.run_id = ""
        self.attempt = 0
        self.is_done = False

    @property
    def is_alive(self) -> bool:
        return not self.is_done and self.process.state is not State.KILLED

    def tell(self, orders: Iterable[Order | tuple[End]]) -> None:
        """Orders to a stopped process are carried out when it goes on."""
        for order in orders:
            self._orders.put_nowait(order)

    @tool
    async def work(self, number: int) -> int:
        self._tools.append(asyncio.get_running_loop().create_future())
        await self._tools[-1]
        return number

    async def execute(self, context: AgentExecutionContext) -> object:
        self.run_id, self.attempt = context.run_id, context.attempt
        self.everyone.append(self)
        try:
            async with AsyncExitStack() as stack:
                stream: AnswerStream = await stack.enter_async_context(context.stream())
                while isinstance(order := await self._orders.get(), str):
                    await self._obey(order, context, stream)
            return _end(order[0], f"attempt {context.attempt}: {self.text}")
        finally:
            self.is_done = True
            for call in self._calls:
                call.cancel()

    async def _obey(self, order: Order, context: AgentExecutionContext, stream: AnswerStream) -> None:
        match order:
            case "think":
                self.thoughts.append(f"attempt {context.attempt}, thought {len(self.thoughts)}")
                await context.think(self.thoughts[-1])
            case "write":
                word = f"{context.attempt}.{len(self.text)} "
                self.text += word
                await stream.write(word)
            case "begin tool":
                call = asyncio.create_task(context.tools.call("work", number=len(self._calls)))
                call.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._calls.add(call)
            case "end tool" | "fail tool":
                going = next((future for future in self._tools if not future.done()), None)
                if going is not None and order == "fail tool":
                    going.set_exception(RuntimeError("broken"))
                elif going is not None:
                    going.set_result(None)


def _end(how: End, answer: str) -> object:
    match how:
        case "answer":
            return answer
        case "nothing":
            return None
        case "no JSON":
            return object()
        case "refuse":
            raise AgentError("refused", "This cannot be done.")
        case "crash":
            raise RuntimeError("a bug of the agent's")


def puppet_class(everyone: list[Puppet]) -> type[Puppet]:
    return type("WorldsPuppet", (Puppet,), {"everyone": everyone})
