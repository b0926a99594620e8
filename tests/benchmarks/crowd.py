"""Many sockets of many users: all are cut and come back at once, each with cursors of its own, while runs go on.

The clients are lawful: each takes cursor + 1 and nothing else. In the end each has what the log has, or Lost is raised.
"""

from __future__ import annotations

import asyncio
import random
import resource
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar

from tests.benchmarks.member import Member

PATIENCE_SECONDS = 120.0
"""For each stage; who is not there by then has been forgotten."""
AT_THE_DOOR = 50
"""Sockets that open at once while the crowd gathers; how they come back is what is measured."""
OTHER_FILES = 500
FORGETFULNESS = 6455
"""The seed of how much each client has when it is cut: the same in every round."""
_T = TypeVar("_T")


class Crowd:
    """`tokens` are of so many users; each has `tabs` sockets, and runs that it asks for by the first of them."""

    def __init__(self, url: str, tokens: Sequence[str], *, tabs: int) -> None:
        self._users: list[list[Member]] = []
        for token in tokens:
            texts: dict[bytes, bytes] = {}
            self._users.append([Member(url, token, texts) for _ in range(tabs)])
        self.members = [member for tabs_of_user in self._users for member in tabs_of_user]

    async def start_runs(self, runs: int, *, events: int, script: list[dict[str, Any]]) -> None:
        """Opens the first socket of each user; returns when it has seen so many events of its runs."""
        firsts = [first for first, *_ in self._users]
        await _all(first.connect() for first in firsts)
        for first in firsts:
            for _ in range(runs):
                request = {"request_id": uuid.uuid4().hex, "agent": "scripted", "message": "Go."}
                first.send(type="start_agent", **request, params={"script": script})
        await _all(first.see(events) for first in firsts)

    async def gather(self) -> None:
        """Opens all other sockets, a few at a time, and brings them where the first of their user is."""
        doors = asyncio.Semaphore(AT_THE_DOOR)

        async def enter(member: Member, first: Member) -> None:
            async with doors:
                member.taken = {run_id: [] for run_id in first.taken}
                await member.come_back()

        await _all(enter(member, first) for first, *others in self._users for member in others)

    async def reconnect(self) -> list[float]:
        """Cuts all sockets at once and has all come back at once; the seconds until each was caught up."""
        forget = random.Random(FORGETFULNESS)
        begin = asyncio.get_running_loop().time()
        for member in self.members:
            member.cut(forget)
        return [at - begin for at in await _all(member.come_back() for member in self.members)]

    async def end_runs(self) -> None:
        """Returns when each socket has seen that each run of its user has ended."""
        for first, *_ in self._users:
            for run_id in first.taken:
                first.send(type="cancel_run", run_id=run_id)
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
