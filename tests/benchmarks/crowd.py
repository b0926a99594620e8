"""Many sockets of many users: all are cut and come back at once, each with cursors of its own, while runs go on.

The clients are lawful: each takes cursor + 1 and nothing else. In the end each has what the log has, or Lost is raised.
"""

from __future__ import annotations

import asyncio
import random
import resource
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.benchmarks.wire import Lost

PATIENCE_SECONDS = 120.0
"""For each stage; who is not there by then has been forgotten."""
AT_THE_DOOR = 50
"""Sockets that open at once while the crowd gathers; how they come back is what is measured."""
OTHER_FILES = 500
_T = TypeVar("_T")
FORGETFULNESS = 6455
"""The seed of how much each client has when it is cut: the same in every round."""


class Refused(Exception):
    """The server did not take the handshake."""


class _Frame(msgspec.Struct):
    """What is read of a frame; replies have no seq."""

    type: str
    run_id: str = ""
    seq: int = 0


_decode = msgspec.json.Decoder(_Frame).decode


class Member(asyncio.Protocol):
    """One client, over all its sockets. `texts` are shared: forty tabs of a user keep each frame once."""

    def __init__(self, url: str, token: str, texts: dict[bytes, bytes]) -> None:
        self.taken: dict[str, list[bytes]] = {}
        self.repeated = 0
        self.refused = 0
        self._uri = parse_uri(url)
        self._token = token
        self._texts = texts
        self._ended: set[str] = set()
        self._milestones: dict[str, asyncio.Future[None]] = {}
        self._fault: Exception | None = None
        self._is_caught_up = True
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        """Opens a socket and returns when it is established. Raises Refused."""
        self._fault = None
        established = self._expect("connection_established")
        with suppress(OSError):
            await asyncio.get_running_loop().create_connection(lambda: self, self._uri.host, self._uri.port)
            await established
            return
        raise Refused

    async def come_back(self) -> float:
        """Connects, however often that is refused, and resumes; returns when it was caught up, in loop time."""
        self._is_caught_up = False
        while True:
            try:
                await self.connect()
                break
            except Refused:
                self.refused += 1
        caught_up = self._expect("caught_up")
        self.send(type="resume", cursors={run_id: len(texts) for run_id, texts in self.taken.items()})
        await caught_up
        return asyncio.get_running_loop().time()

    async def see_ends(self) -> None:
        """Returns when each run that it knows has ended."""
        while len(self._ended) < len(self.taken):
            await self._expect("agent_completed")

    async def see(self, events: int) -> None:
        """Returns when it has so many events of all runs."""
        while sum(map(len, self.taken.values())) < events:
            await self._expect("agent_thinking")

    def cut(self, forget: random.Random) -> None:
        """Loses its socket, without a close frame, and the last of what it has."""
        assert self._transport is not None
        transport, self._transport = self._transport, None
        transport.abort()
        for texts in self.taken.values():
            del texts[forget.randint(0, len(texts)) :]

    def leave(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()

    def send(self, **message: Any) -> None:
        self._wire.send_text(msgspec.json.encode(message))
        self._flush()

    # — of asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wire = ClientProtocol(self._uri, max_size=None)
        request = self._wire.connect()
        request.headers["Authorization"] = f"Bearer {self._token}"
        self._wire.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Response) and self._wire.handshake_exc is not None:
                self.leave()
                self._fail(ConnectionRefusedError(str(self._wire.handshake_exc)))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._take(bytes(event.data))
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self._fail(ConnectionAbortedError(f"the server closed: {Close.parse(event.data)}"))
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._fail(ConnectionResetError("the server cut the socket"))

    # — within

    def _take(self, text: bytes) -> None:
        frame = _decode(text)
        if frame.seq:
            taken = self.taken.setdefault(frame.run_id, [])
            if frame.seq == len(taken) + 1:
                taken.append(self._texts.setdefault(text, text))
            elif self._is_caught_up:
                self._fail(Lost(f"event {frame.seq} of {frame.run_id} came in place {len(taken) + 1}"))
            else:
                self.repeated += 1  # it went out before the resume was read, and comes again in its place
                return
            if frame.type == "agent_completed":
                self._ended.add(frame.run_id)
        elif frame.type == "error":
            self._fail(Lost(f"the server said {text.decode()}"))
        elif frame.type == "caught_up":
            self._is_caught_up = True
        if (milestone := self._milestones.pop(frame.type, None)) is not None and not milestone.done():
            milestone.set_result(None)

    def _expect(self, type_: str) -> asyncio.Future[None]:
        """Done when the next frame of that type has come; fails with what went wrong before or meanwhile."""
        milestone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._fault is not None:
            milestone.set_exception(self._fault)
        self._milestones[type_] = milestone
        return milestone

    def _fail(self, error: Exception) -> None:
        self._fault = self._fault or error
        for milestone in self._milestones.values():
            if not milestone.done():
                milestone.set_exception(error)
                milestone.exception()  # whether anybody awaits it or not

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.writelines(self._wire.data_to_send())


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
