"""Two kinds of clients: the project's own, and one written from protocol.md alone. Their witnesses see every frame."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from notifications.client import NetraClient, start_frame
from notifications.connection import ClientError, Connection
from notifications.dialogue import Step
from tests.chaos.witness import Frame, Witness

ACK_EVERY = 50
FIRST_BACKOFF, MOST_BACKOFF = 0.5, 8.0


class Client(Protocol):
    """`start` and `cancel` return the answer, whatever it is, across reconnects."""

    witness: Witness

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def start(self, request: Frame) -> Frame: ...

    async def cancel(self, run_id: str) -> Frame: ...

    async def follow(self, run_ids: Sequence[str]) -> None:
        """Has the client bring runs that it has not heard of, as a page does that lists them."""
        ...

    def drop(self, seconds: float) -> None:
        """Cuts the connection, without a word to the server; where it can, the client stays away for a while."""
        ...


class WitnessedConnection(Connection):
    """notifications.connection as it is, and somebody who watches it."""

    def __init__(self, client: NetraClient, token: str, witness: Witness) -> None:
        super().__init__(client.url, token=token, ticket=None, dialogue=client._dialogue, tell=client._hear)
        self._witness = witness

    def cut(self) -> None:
        if self._socket is not None:
            self._socket.transport.abort()

    async def send(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._witness.sent(frame)
        await super().send(frames)

    async def _serve_once(self, entering: asyncio.Future[None]) -> int | None:
        code = await super()._serve_once(entering)
        self._witness.closed(code)
        return code

    async def _serve(self, socket: ClientConnection, entering: asyncio.Future[None]) -> None:
        self._witness.connected()
        await super()._serve(socket, entering)

    async def _take(self, step: Step) -> None:
        self._witness.took(step.events)
        await super()._take(step)

    def _note(self, frame: Frame, entering: asyncio.Future[None]) -> None:
        self._witness.saw(frame)
        super()._note(frame, entering)


class LibraryClient(NetraClient):
    """notifications.client as it is; it comes back when it thinks fit."""

    def __init__(self, url: str, token: str, witness: Witness) -> None:
        super().__init__(url, token=token)
        self.witness = witness
        self._connection: WitnessedConnection = WitnessedConnection(self, token, witness)

    async def start(self, request: Frame) -> Frame:
        return await self._ask(f"start_agent {request['request_id']}", request)

    async def cancel(self, run_id: str) -> Frame:
        return await self._ask(f"cancel_run {run_id}", {"type": "cancel_run", "run_id": run_id})

    async def _ask(self, key: str, frame: Frame) -> Frame:
        try:
            return await self._request(key, frame)
        except ClientError as error:
            return {"type": "error", "code": error.code, "retry_after": error.retry_after}

    async def follow(self, run_ids: Sequence[str]) -> None:
        await self._connection.send(self._dialogue.follow(list(run_ids)))

    def drop(self, seconds: float) -> None:
        self.witness.hinder()
        self._connection.cut()


class PlainClient:
    """The client duties of protocol.md and nothing else: cursor + 1, resume on a hole, full jitter, ask again."""

    def __init__(self, url: str, token: str, witness: Witness, chance: random.Random) -> None:
        self.witness = witness
        self._url = url
        self._token = token
        self._chance = chance
        self._acks = chance.random() < 0.5
        self._cursors: dict[str, int] = {}
        self._ended: set[str] = set()
        self._resumed: dict[str, set[str]] = {}
        self._unacknowledged = 0
        self._requests: dict[str, Frame] = {}
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._socket: ClientConnection | None = None
        self._stay_away = 0.0
        self._failures = 0
        self._numbers = itertools.count(1)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._live(), name=self.witness.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def start(self, request: Frame) -> Frame:
        return await self._ask(request["request_id"], request)

    async def cancel(self, run_id: str) -> Frame:
        return await self._ask(run_id, {"type": "cancel_run", "run_id": run_id})

    async def follow(self, run_ids: Sequence[str]) -> None:
        await self._resume(run_ids)

    def drop(self, seconds: float) -> None:
        self.witness.hinder()
        self._stay_away = seconds
        if self._socket is not None:
            self._socket.transport.abort()

    async def _ask(self, key: str, frame: Frame) -> Frame:
        self._requests[key] = frame
        answer = self._answers.setdefault(key, asyncio.get_running_loop().create_future())
        await self._send(frame)
        return await asyncio.shield(answer)

    async def _live(self) -> None:
        while True:
            code = None
            try:
                headers = {"Authorization": f"Bearer {self._token}"}
                async with connect(
                    self._url, additional_headers=headers, compression=None, ping_interval=None, close_timeout=1
                ) as socket:
                    await self._serve(socket)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else None
            except (WebSocketException, OSError, TimeoutError):
                pass
            finally:
                self._socket = None
            self.witness.closed(code)
            backoff = min(MOST_BACKOFF, FIRST_BACKOFF * 2.0**self._failures)
            self._failures += 1
            await asyncio.sleep(self._stay_away + self._chance.random() * backoff)
            self._stay_away = 0.0

    async def _serve(self, socket: ClientConnection) -> None:
        self.witness.connected()
        self._resumed.clear()
        async for text in socket:
            frame: Frame = json.loads(text)
            if frame["type"] == "connection_established":
                self._socket, self._failures = socket, 0
            self.witness.saw(frame)
            await self._receive(frame)

    async def _receive(self, frame: Frame) -> None:
        match frame["type"]:
            case "connection_established":
                await self._catch_up(frame["runs"])
            case "head":
                heads = frame["runs"]
                await self._resume([run for run, head in heads.items() if head > self._cursors.setdefault(run, 0)])
            case "caught_up":
                self._resumed.pop(frame["id"], None)
            case "run_accepted":
                await self._accepted(frame)
            case "cancel_accepted":
                self._answer(frame["run_id"], frame)
            case "error":
                self._answer(frame.get("request_id") or frame.get("run_id", ""), frame)
            case _ if "seq" in frame:
                await self._event(frame)
            case _:
                pass

    async def _catch_up(self, live: list[Frame]) -> None:
        known = dict.fromkeys([*self._cursors, *(run["run_id"] for run in live)])
        await self._resume([run_id for run_id in known if run_id not in self._ended])
        for request in list(self._requests.values()):
            await self._send(request)

    async def _accepted(self, accepted: Frame) -> None:
        self._answer(accepted["request_id"], accepted)
        is_new = accepted["run_id"] not in self._cursors
        self._cursors.setdefault(accepted["run_id"], 0)
        if accepted["duplicate"] and is_new:
            await self._resume([accepted["run_id"]])

    async def _event(self, event: Frame) -> None:
        run_id, cursor = event["run_id"], self._cursors.get(event["run_id"], 0)
        if event["seq"] == cursor + 1:
            self._cursors[run_id] = event["seq"]
            self.witness.took([event])
            if event["type"] == "agent_completed":
                self._ended.add(run_id)
        elif event["seq"] > cursor + 1:
            await self._resume([run_id])
        self._unacknowledged += 1
        if self._acks and self._unacknowledged >= ACK_EVERY:
            self._unacknowledged = 0
            await self._send({"type": "ack", "cursors": {run_id: at for run_id, at in self._cursors.items() if at}})

    async def _resume(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self._cursors.setdefault(run_id, 0)  # to be asked for again, should this connection not bring it
        under_way = set().union(*self._resumed.values()) if self._resumed else set()
        wanted = {run_id: self._cursors[run_id] for run_id in run_ids if run_id not in under_way}
        if wanted and self._socket is not None:
            id_ = f"plain-{next(self._numbers)}"
            self._resumed[id_] = set(wanted)
            await self._send({"type": "resume", "id": id_, "cursors": wanted})

    async def _send(self, frame: Frame) -> None:
        if self._socket is not None:
            self.witness.sent(frame)
            with suppress(ConnectionClosed):
                await self._socket.send(json.dumps(frame))

    def _answer(self, key: str, frame: Frame) -> None:
        self._requests.pop(key, None)
        answer = self._answers.pop(key, None)
        if answer is not None and not answer.done():
            answer.set_result(frame)


def start_request(request_id: str, params: dict[str, Any], **optional: Any) -> Frame:
    return start_frame("scripted", "Go.", request_id=request_id, params=params, **optional)
