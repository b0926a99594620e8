"""What a client says: each message is read, obeyed within the limits, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from agents.database import AWAY, in_database
from agents.errors import InvalidCursor, NetraError, NotFound, NotReady
from agents.intake import Intake
from agents.runs import RunRequest
from notifications import protocol
from notifications.limits import RateLimit
from notifications.log import read_heads_of
from notifications.manager import WebSocketManager
from notifications.protocol import ErrorFrame, RateLimited
from notifications.sender import EventSender
from notifications.session import DeliverySession

ANSWER_SECONDS: Final = 4.0
"""How long a handshake or a message may take; daphne drops handshakes after 5 s."""
ACKS_PER_MESSAGE: Final = 10
"""A fast run needs many acks: so many times more of them may come than of other messages."""
INSISTENCE: Final = 60
"""A client that is told so often in a minute that it sends too much is closed."""

CLOSE_PROTOCOL: Final = 4400
CLOSE_LIMIT: Final = 4429

PROTOCOL_ERRORS: Final = frozenset({"invalid_json", "invalid_message", "unknown_type", "message_too_large"})

log = structlog.get_logger(__name__)


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one user or one socket may do."""

    sockets_per_user: int
    messages_per_minute: int
    protocol_errors_per_10_s: int


class MessageReceiver:
    """Serves one socket, one message after the other; the sender brings events out meanwhile."""

    def __init__(
        self,
        *,
        user_id: int,
        session: DeliverySession,
        sender: EventSender,
        manager: WebSocketManager,
        intake: Intake,
        limits: SocketLimits,
        answer: Callable[[protocol.ServerMessage], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
    ) -> None:
        self._user_id = user_id
        self._session = session
        self._sender = sender
        self._manager = manager
        self._intake = intake
        self._answer = answer
        self._close = close
        self._starting = False
        self._late: list[Callable[[], None]] = []
        self._messages = RateLimit(limits.messages_per_minute, 60.0)
        self._acks = RateLimit(ACKS_PER_MESSAGE * limits.messages_per_minute, 60.0)
        self._warnings = RateLimit(INSISTENCE, 60.0)
        self._mistakes = RateLimit(limits.protocol_errors_per_10_s - 1, 10.0)

    async def receive(self, text: str | None) -> None:
        """Answers one message of the client; `text` None: a binary one."""
        now = asyncio.get_running_loop().time()
        reading = protocol.read(text)
        limit = self._acks if isinstance(reading.message, protocol.Ack) else self._messages
        if wait := limit.take(now):
            await self._too_many("You send too many messages.", wait, now)
        elif reading.error is not None:
            await self._mistaken(reading.error, now)
        elif reading.message is not None:
            await self._obey(reading.message)

    async def _obey(self, message: protocol.ClientMessage) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._act_on(message)
        except NetraError as error:
            await self._answer(protocol.error_frame(error, answered=msgspec.to_builtins(message)))
        except (TimeoutError, *AWAY) as error:
            log.warning("database away", error=repr(error))
            away = NotReady("Netra cannot reach its database right now. Please try again.", retry_after=2)
            await self._answer(protocol.error_frame(away, answered=msgspec.to_builtins(message)))

    async def _act_on(self, message: protocol.ClientMessage) -> None:
        match message:
            case protocol.StartAgent():
                await self._start(message)
            case protocol.CancelRun():
                cancelled = await self._intake.cancel(user_id=self._user_id, run_id=message.run_id)
                await self._answer(protocol.CancelAccepted(run_id=message.run_id, status=cancelled.status))
            case protocol.ResolveApproval():
                await self._resolve(message)
            case protocol.Resume():
                await self._resume(message)
            case protocol.Ack():
                self._session.ack(message.cursors)
                self._sender.note_ack()
            case protocol.Ping():
                await self._answer(protocol.Pong(id=message.id, server_time=protocol.now()))

    async def _start(self, message: protocol.StartAgent) -> None:
        """The run's events wait until the client has been told that it is accepted."""
        request = RunRequest(
            agent=message.agent,
            message=message.message,
            thread_id=message.thread_id,
            params=message.params,
            timeout=message.timeout,
            on_busy=message.on_busy,
        )
        self._starting = True
        try:
            registered = await self._intake.start(
                user_id=self._user_id,
                request_id=message.request_id,
                request=request,
                admit=partial(self._manager.admit_start, self._user_id),
                params_of=message.params_of,
            )
            await self._answer(
                protocol.RunAccepted(
                    request_id=message.request_id,
                    run_id=registered.run_id,
                    thread_id=registered.thread_id,
                    duplicate=registered.duplicate,
                    queue_position=registered.queue_position,
                )
            )
        finally:
            self._starting = False
            late, self._late = self._late, []
            for news in late:
                self.take(news)

    async def _resolve(self, message: protocol.ResolveApproval) -> None:
        decision = await self._intake.resolve_approval(
            user_id=self._user_id,
            run_id=message.run_id,
            approval_id=message.approval_id,
            answer=message.decision,
            arguments=message.arguments,
            comment=message.comment,
        )
        await self._answer(
            protocol.ApprovalAccepted(run_id=message.run_id, approval_id=message.approval_id, decision=decision)
        )

    async def _resume(self, message: protocol.Resume) -> None:
        heads = await in_database(read_heads_of, self._user_id, list(message.cursors))
        served: dict[str, int] = {}
        for run_id, cursor in message.cursors.items():
            if run_id not in heads:
                error: NetraError = NotFound("You have no run with this run_id.", field="cursors")
            elif cursor > heads[run_id]:
                error = InvalidCursor(
                    f"This run has no event {cursor:,}: its last is {heads[run_id]:,}.", field="cursors"
                )
            else:
                served[run_id] = cursor
                continue
            await self._answer(protocol.error_frame(error, answered={"run_id": run_id}))
        self._session.resume(message.id, served, heads)
        self._sender.wake()

    async def _mistaken(self, error: ErrorFrame, now: float) -> None:
        await self._answer(error)
        if error.code in PROTOCOL_ERRORS and self._mistakes.take(now):
            await self._close(CLOSE_PROTOCOL)

    async def _too_many(self, sentence: str, wait: float, now: float) -> None:
        await self._answer(protocol.error_frame(RateLimited(sentence, retry_after=round(wait, 3))))
        if self._warnings.take(now):
            await self._close(CLOSE_LIMIT)

    def take(self, news: Callable[[], None]) -> None:
        """Lets the session hear what there is of runs; while one is being accepted, after its answer."""
        if self._starting:
            self._late.append(news)
        else:
            news()
            self._sender.wake()
