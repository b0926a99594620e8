"""A client for Python programs: every event of a run once and in order, across reconnects.

async with NetraClient("http://127.0.0.1:8000", token=token) as netra:
    accepted = await netra.start_agent("analyst", "Which region sold most?", params={"table": csv})
    async for event in netra.events(accepted["run_id"]):
        print(event["type"], event["data"])
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from notifications.connection import ClientError, Connection, Ticket, as_exception, encode, socket_url
from notifications.cursors import Frame
from notifications.dialogue import Dialogue, Reader, Step, request_key
from notifications.protocol import MAX_MESSAGE_BYTES


class NetraClient:
    """Used as an asynchronous context manager, which raises Refused or NothingAnswers if it cannot get in.

    Who it is: an API token, or a function that gets a fresh ticket before each attempt to connect.
    """

    def __init__(self, url: str, *, token: str | None = None, ticket: Ticket | None = None) -> None:
        """`url` with http, https, ws or wss; raises ValueError if it is none."""
        self.url = socket_url(url)
        self._dialogue = Dialogue()
        self._connection = Connection(self.url, token=token, ticket=ticket, dialogue=self._dialogue, tell=self._hear)
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._news = asyncio.Condition()
        self._listeners: list[Callable[[Frame], None]] = []

    @property
    def state(self) -> str:
        """connecting, live, catching_up or offline."""
        return self._dialogue.state

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def start_agent(
        self,
        agent: str,
        message: str,
        *,
        thread_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        params_of: str | None = None,
        timeout: float | None = None,
        on_busy: str | None = None,
        request_id: str | None = None,
    ) -> Frame:
        """Starts a run, once however often it is sent; returns run_accepted. Raises ClientError.

        `params_of` names a run of the user's whose params it takes: clients are told them without their secrets.
        """
        frame = start_frame(
            agent,
            message,
            thread_id=thread_id,
            params=params,
            params_of=params_of,
            timeout=timeout,
            on_busy=on_busy,
            request_id=request_id,
        )
        if len(encode(frame)) > MAX_MESSAGE_BYTES:
            sentence = f"A message has at most {MAX_MESSAGE_BYTES:,} bytes; this one has {len(encode(frame)):,}."
            raise ClientError("message_too_large", sentence)
        return await self._request(request_key("start_agent", frame["request_id"]), frame)

    async def cancel_run(self, run_id: str) -> Frame:
        """Has a run cancelled; returns cancel_accepted. The run ends with its agent_completed. Raises ClientError."""
        return await self._request(request_key("cancel_run", run_id), {"type": "cancel_run", "run_id": run_id})

    async def resolve_approval(
        self,
        run_id: str,
        approval_id: str,
        decision: Literal["approve", "reject"],
        *,
        arguments: Mapping[str, Any] | None = None,
        comment: str = "",
    ) -> Frame:
        """Answers an approval_requested; returns approval_accepted. `arguments` replace those asked about.

        Raises ClientError: approval_closed if somebody or time has decided, invalid_message for arguments that the
        tool does not take.
        """
        frame: Frame = {"type": "resolve_approval", "run_id": run_id, "approval_id": approval_id, "decision": decision}
        if arguments is not None:
            frame["arguments"] = dict(arguments)
        if comment:
            frame["comment"] = comment
        return await self._request(request_key("resolve_approval", approval_id), frame)

    def on_event(self, call: Callable[[Frame], None]) -> None:
        """Has `call` hear of each new event (and gap) of every run of the user, once and in order."""
        self._listeners.append(call)

    async def events(self, run_id: str, *, after: int = 0) -> AsyncIterator[Frame]:
        """A run's events (and gaps) from the first, or after a cursor, until agent_completed. Raises ClientError."""
        reader = Reader(run_id, after)
        frames = self._dialogue.read(reader)
        try:
            await self._connection.send(frames)
            while True:
                async with self._news:
                    await self._news.wait_for(lambda: reader.events or reader.ended)
                while reader.events:
                    yield reader.events.popleft()
                if reader.error is not None:
                    raise as_exception(reader.error)
                if reader.ended:
                    return
        finally:
            self._dialogue.unread(reader)

    async def _request(self, key: str, frame: Frame) -> Frame:
        if self._dialogue.fatal is not None:
            raise as_exception(self._dialogue.fatal)
        answer = self._answers.setdefault(key, asyncio.get_running_loop().create_future())
        await self._connection.send(self._dialogue.request(key, frame))
        answered = await asyncio.shield(answer)
        if answered["type"] == "error":
            raise as_exception(answered)
        return answered

    async def _hear(self, step: Step) -> None:
        for event in step.events:
            for call in self._listeners:
                call(event)
        for key, frame in step.answers:
            answer = self._answers.pop(key, None)
            if answer is not None and not answer.done():
                answer.set_result(frame)
        async with self._news:
            self._news.notify_all()


def start_frame(agent: str, message: str, *, request_id: str | None = None, **optional: Any) -> Frame:
    """The frame that starts a run; options that are None are left out."""
    given = {name: value for name, value in optional.items() if value is not None}
    request_id = request_id or f"req_{secrets.token_hex(16)}"
    return {"type": "start_agent", "request_id": request_id, "agent": agent, "message": message, **given}


def frame_bytes(frame: Frame) -> int:
    """How large a frame is on the wire."""
    return len(encode(frame))
