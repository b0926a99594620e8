"""One client of a crowd, over all its sockets: lawful, and suspicious of its server."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from notifications.dialogue import BACKOFF_FIRST, BACKOFF_MOST
from tests.benchmarks.wire import Lost

RETRY_SECONDS = 0.5
"""At the most, before what was not answered is asked again on the same socket."""


class _Frame(msgspec.Struct):
    """What is read of a frame; replies have no seq."""

    type: str
    run_id: str = ""
    seq: int = 0
    code: str = ""


_decode = msgspec.json.Decoder(_Frame).decode


class Member(asyncio.Protocol):
    """One client, over all its sockets. `texts` are shared: forty tabs of a user keep each frame once."""

    def __init__(self, url: str, token: str, texts: dict[bytes, bytes]) -> None:
        self.taken: dict[str, list[bytes]] = {}
        self.early = 0
        self.refused = 0
        self._uri = parse_uri(url)
        self._token = token
        self._texts = texts
        self._ended: set[str] = set()
        self._due: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._milestones: dict[str, asyncio.Future[None]] = {}
        self._fault: Exception | None = None
        self._is_caught_up = True
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        """Opens a socket and returns when it is established. Raises OSError when the server does not take it."""
        self._fault = None
        established = self._expect("connection_established")
        await asyncio.get_running_loop().create_connection(lambda: self, self._uri.host, self._uri.port)
        await established

    async def come_back(self) -> float:
        """Connects and resumes, however often it is sent away; returns when it was caught up, in loop time."""
        await self._insist(self._resume)
        return asyncio.get_running_loop().time()

    async def enter(self) -> None:
        """Connects, however often it is sent away."""
        await self._insist(self.connect)

    async def _insist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        delay = BACKOFF_FIRST
        while True:
            try:
                return await attempt()
            except OSError:
                self.refused += 1
                self.leave()
                await asyncio.sleep(random.uniform(0, delay))
                delay = min(2 * delay, BACKOFF_MOST)

    async def _resume(self) -> None:
        cursors = {run_id: len(texts) for run_id, texts in self.taken.items()}
        self._due = {run_id: cursor + 1 for run_id, cursor in cursors.items()}
        self._places = {}
        self._is_caught_up = False
        await self.connect()
        caught_up = self._expect("caught_up")
        self.send(type="resume", cursors=cursors)
        await caught_up

    async def start_run(self, script: Sequence[Mapping[str, object]]) -> None:
        """Asks for a run until it is accepted."""
        request = {"request_id": uuid.uuid4().hex, "agent": "scripted", "message": "Go.", "params": {"script": script}}
        await self._ask("run_accepted", type="start_agent", **request)

    async def cancel_runs(self) -> None:
        """Asks for the end of each run that it knows until that is accepted."""
        for run_id in self.taken:
            await self._ask("cancel_accepted", type="cancel_run", run_id=run_id)

    async def _ask(self, answer: str, **message: Any) -> None:
        while True:
            answered = self._expect(answer)
            self.send(**message)
            try:
                return await answered
            except ConnectionAbortedError:
                self.refused += 1
                self._fault = None
                await asyncio.sleep(random.uniform(0, RETRY_SECONDS))

    async def see_ends(self, runs: int = 0) -> None:
        """Returns when each run that it knows has ended, and so many of them."""
        while len(self._ended) < max(runs, len(self.taken)):
            await self._expect("agent_completed")
        if self._fault is not None:
            raise self._fault

    async def see(self, events: int) -> None:
        """Returns when it has so many events of all runs."""
        while sum(map(len, self.taken.values())) < events:
            await self._expect("agent_thinking")

    def cut(self, forget: random.Random) -> None:
        """Loses its socket, without a close frame, and of each run at least the last event that it has."""
        self.leave()
        for texts in self.taken.values():
            del texts[forget.randrange(len(texts)) :]

    def note(self, run_id: str, text: bytes) -> None:
        """Called with each event that it takes."""

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
            self._take_event(frame, text)
        elif frame.type == "error":
            sent_away = frame.code == "not_ready"
            self._fail(ConnectionAbortedError(text.decode()) if sent_away else Lost(f"the server said {text.decode()}"))
        elif frame.type == "caught_up":
            self._is_caught_up = True
        if (milestone := self._milestones.pop(frame.type, None)) is not None and not milestone.done():
            milestone.set_result(None)

    def _take_event(self, frame: _Frame, text: bytes) -> None:
        taken = self.taken.setdefault(frame.run_id, [])
        if not self._is_in_order(frame):
            self._fail(Lost(f"event {frame.seq} of {frame.run_id} was sent again, or in the wrong place"))
        elif frame.seq == len(taken) + 1:
            taken.append(self._texts.setdefault(text, text))
            self.note(frame.run_id, text)
            if frame.type == "agent_completed":
                self._ended.add(frame.run_id)
        elif self._is_caught_up:
            self._fail(Lost(f"event {frame.seq} of {frame.run_id} came in place {len(taken) + 1}"))
        else:
            self.early += 1  # it went out before the resume was read, and comes again in its place

    def _is_in_order(self, frame: _Frame) -> bool:
        """What follows the cursor comes once, all else after the event before it. The first may be a live one."""
        due, place = self._due.get(frame.run_id, 1), self._places.get(frame.run_id)
        self._places[frame.run_id] = frame.seq
        if frame.seq == due:
            self._due[frame.run_id] = 0
            return True
        return frame.seq == place + 1 if place else frame.seq > due

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
