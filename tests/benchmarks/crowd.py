"""Many sockets of many users: all are cut and come back at once, each with cursors of its own, while runs go on.

The clients are lawful: each takes cursor + 1 and nothing else. In the end each has what the log has, or Lost is raised.
"""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from tests.benchmarks.member import Member

PATIENCE_SECONDS = 300.0
"""For each stage, on the busiest machine; who is not there by then has been forgotten."""
AT_THE_DOOR = 50
"""Runs that are asked for, and sockets that open, at once before what is measured: how they come back."""
OTHER_FILES = 500
FORGETFULNESS = 6455
"""The seed of how much each client has when it is cut: the same in every round."""
_T = TypeVar("_T")


class Crowd:
    """`tokens` are of so many users; each has `tabs` sockets, and runs that it asks for by the first of them."""

    def __init__(self, url: str, tokens: Sequence[str], *, tabs: int, member: type[Member] = Member) -> None:
        self._users: list[list[Member]] = []
        for token in tokens:
            texts: dict[bytes, bytes] = {}
            self._users.append([member(url, token, texts) for _ in range(tabs)])
        self.members = [member for tabs_of_user in self._users for member in tabs_of_user]
        self._firsts = [first for first, *_ in self._users]

    async def connect(self) -> None:
        """Opens the first socket of each user, a few at a time."""
        await self._at_the_door(first.enter for first in self._firsts)

    async def start_runs(self, runs: int, *, events: int, script: Sequence[Mapping[str, object]]) -> None:
        """Returns when the first socket of each user has seen so many events of its runs."""
        await self._ask_for_runs(runs, script)
        await _all(first.see(events) for first in self._firsts)

    async def execute_runs(self, runs: int, *, script: Sequence[Mapping[str, object]]) -> None:
        """Returns when the first socket of each user has seen that so many runs have ended."""
        await self._ask_for_runs(runs, script)
        await _all(first.see_ends(runs) for first in self._firsts)

    async def _ask_for_runs(self, runs: int, script: Sequence[Mapping[str, object]]) -> None:
        async def ask(first: Member) -> None:
            for _ in range(runs):
                await first.start_run(script)

        await self._at_the_door(partial(ask, first) for first in self._firsts)

    async def _at_the_door(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        doors = asyncio.Semaphore(AT_THE_DOOR)

        async def enter(work: Callable[[], Awaitable[None]]) -> None:
            async with doors:
                await work()

        await _all(enter(work) for work in works)

    async def gather(self) -> None:
        """Opens all other sockets, a few at a time, and brings them where the first of their user is."""

        async def enter(member: Member, first: Member) -> None:
            member.taken = {run_id: [] for run_id in first.taken}
            await member.come_back()

        pairs = [(other, first) for first, *others in self._users for other in others]
        await self._at_the_door(partial(enter, *pair) for pair in pairs)

    async def reconnect(self) -> list[float]:
        """Cuts all sockets at once and has all come back at once; the seconds until each was caught up."""
        forget = random.Random(FORGETFULNESS)
        begin = asyncio.get_running_loop().time()
        for member in self.members:
            member.cut(forget)
        return [at - begin for at in await _all(member.come_back() for member in self.members)]

    async def end_runs(self) -> None:
        """Returns when each socket has seen that each run of its user has ended."""
        await self._at_the_door(first.cancel_runs for first in self._firsts)
        await _all(member.see_ends() for member in self.members)

    def leave(self) -> None:
        for member in self.members:
            member.leave()


def allow_files(sockets: int) -> None:
    """Lets this process and those that it starts have so many sockets open twice: new ones come before old ones go.

    Raises OSError, with what to do, where the machine does not allow it.
    """
    wanted = 2 * sockets + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OSError(
            f"{sockets:,} sockets need {wanted:,} open files, and a process here may have {hard:,} at the most."
            " Raise that (ulimit -Hn, or LimitNOFILE of the service), or take ARGS=--quick."
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _all(works: Iterable[Awaitable[_T]]) -> list[_T]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.gather(*works)
