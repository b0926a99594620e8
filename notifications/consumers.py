"""The socket: reads client messages, obeys the delivery session, and never closes with 1011.

Two tasks serve a socket. The consumer's own handles what comes in, one message after the other; the sender brings
events out. So a ping is answered while a long replay is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from channels.layers import BaseChannelLayer

from agents.database import AWAY, in_database
from agents.errors import InvalidCursor, NetraError, NotFound, NotReady
from agents.ids import Prefix, new_id
from agents.intake import Intake
from agents.runs import RunRequest
from notifications import protocol, servers
from notifications.authentication import Credential, authenticate
from notifications.groups import group_of
from notifications.limits import RateLimit
from notifications.log import read_heads_of, read_runs
from notifications.manager import CLOSE_COME_BACK, WebSocketManager
from notifications.protocol import ErrorFrame, RateLimited, SessionEnded
from notifications.sender import EventSender
from notifications.session import DeliverySession

ANSWER_SECONDS: Final = 4.0
"""How long a handshake or a message may take; daphne drops handshakes after 5 s."""
ENDED_LATELY: Final = timedelta(minutes=2)
ACKS_PER_MESSAGE: Final = 10
"""A fast run needs many acks: so many times more of them may come than of other messages."""
INSISTENCE: Final = 60
"""A client that is told so often in a minute that it sends too much is closed."""

CLOSE_PROTOCOL: Final = 4400
CLOSE_SESSION_ENDED: Final = 4401
CLOSE_LIMIT: Final = 4429

PROTOCOL_ERRORS: Final = frozenset({"invalid_json", "invalid_message", "unknown_type", "message_too_large"})

log = structlog.get_logger(__name__)


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one user or one socket may do."""

    sockets_per_user: int
    messages_per_minute: int
    protocol_errors_per_10_s: int


class ChatConsumer(AsyncConsumer):
    channel_layer: BaseChannelLayer
    user_id: int
    credential: Credential

    def __init__(self, *, manager: WebSocketManager, intake: Intake, limits: SocketLimits) -> None:
        self._manager = manager
        self._intake = intake
        self._limits = limits
        self._session = DeliverySession()
        self._sender: EventSender | None = None
        self._joined = False
        self._closed = False
        self._starting = False
        self._late_heads: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._messages = RateLimit(limits.messages_per_minute, 60.0)
        self._acks = RateLimit(ACKS_PER_MESSAGE * limits.messages_per_minute, 60.0)
        self._warnings = RateLimit(INSISTENCE, 60.0)
        self._mistakes = RateLimit(limits.protocol_errors_per_10_s - 1, 10.0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handles one message of the client or the layer. Without channels' hop through asgiref's shared thread."""
        handler = self._HANDLERS.get(message["type"])
        if handler is None:
            return  # of a newer release, in a rolling deployment
        try:
            await handler(self, message)
        except (StopConsumer, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("handler failed", message_type=message["type"])
            if self._sender is not None:
                await self._answer(ErrorFrame(code="internal", message="Netra failed here. Please try again."))
            else:
                await self.close(CLOSE_COME_BACK)  # it never came about; before the upgrade this is a 403

    # ─ the socket's life

    async def _connect(self, _: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                credential = await in_database(authenticate, dict(self.scope)) if self._manager.is_open else None
        except (TimeoutError, *AWAY) as error:
            log.warning("handshake refused", error=repr(error))
            credential = None
        if credential is None:
            await self.close(CLOSE_PROTOCOL)  # before the upgrade: the server answers 403
            return
        self.credential = credential
        self.user_id = credential.user_id
        await self.send({"type": "websocket.accept"})
        self._joined = True
        if self._manager.connected(self) > self._limits.sockets_per_user:
            sentence = "You have too many connections open. Close some tabs and reload."
            await self._answer(protocol.error_frame(RateLimited(sentence, retry_after=30)))
            await self.close(CLOSE_LIMIT)
            return
        await self._begin()

    async def _begin(self) -> None:
        """Joins the group, then reads the heads: an event is in the one or comes by the other."""
        await self._within_time(self.channel_layer.group_add(group_of(self.user_id), self.channel_name))
        runs, heads = await self._within_time(in_database(read_runs, self.user_id, protocol.now() - ENDED_LATELY))
        self._session.begin(heads)
        await self._answer(
            protocol.ConnectionEstablished(
                protocol=protocol.VERSION,
                connection_id=new_id(Prefix.CONNECTION),
                user_id=str(self.user_id),
                server_time=protocol.now(),
                heartbeat_s=self._manager.heartbeat,
                runs=runs,
            )
        )
        self._sender = EventSender(
            user_id=self.user_id,
            session=self._session,
            send_text=self._send_text,
            close=self.close,
            unsent_bytes=partial(servers.unsent_bytes, self.base_send),
        )

    async def _within_time(self, work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await work
        except (TimeoutError, *AWAY) as cause:
            log.warning("socket not served", error=repr(cause))
            error = NotReady("Netra cannot serve you right now. Please reconnect in a moment.", retry_after=2)
            await self._answer(protocol.error_frame(error))
            await self.close(CLOSE_COME_BACK)
            raise StopConsumer from cause

    async def _disconnect(self, _: dict[str, Any]) -> None:
        self._closed = True
        raise StopConsumer

    async def _leave(self) -> None:
        """Also when the server cancels this consumer without a disconnect."""
        self._closed = True
        if self._sender is not None:
            self._sender.stop()
        if self._joined:
            self._manager.disconnected(self)
            try:
                async with asyncio.timeout(1.0):
                    await self.channel_layer.group_discard(group_of(self.user_id), self.channel_name)
            except Exception as error:  # the layer forgets the socket by itself, later
                log.warning("group not left", error=repr(error))

    async def close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            await servers.close(self.base_send, code)

    async def _answer(self, message: protocol.ServerMessage) -> None:
        await self._send_text(protocol.encode(message))

    async def _send_text(self, text: str) -> None:
        if not self._closed:
            message: Any = {"type": "websocket.send", "text": text}
            try:
                await self.base_send(message)
            except servers.GONE:
                self._closed = True

    async def end_session(self) -> None:
        """Called by the manager when the credential does not count any more."""
        await self._answer(protocol.error_frame(SessionEnded("Your session has ended. Please log in again.")))
        await self.close(CLOSE_SESSION_ENDED)

    # ─ what the client says

    async def _receive(self, message: dict[str, Any]) -> None:
        if self._closed or self._sender is None:
            return
        now = asyncio.get_running_loop().time()
        reading = protocol.read(message.get("text"))
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
                cancelled = await self._intake.cancel(user_id=self.user_id, run_id=message.run_id)
                await self._answer(protocol.CancelAccepted(run_id=message.run_id, status=cancelled.status))
            case protocol.Resume():
                await self._resume(message)
            case protocol.Ack():
                self._session.ack(message.cursors)
                if self._sender is not None:
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
                user_id=self.user_id,
                request_id=message.request_id,
                request=request,
                admit=partial(self._manager.admit_start, self.user_id),
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
            self._take_heads(self._late_heads)
            self._late_heads = {}

    async def _resume(self, message: protocol.Resume) -> None:
        heads = await in_database(read_heads_of, self.user_id, list(message.cursors))
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
        self._wake()

    async def _mistaken(self, error: ErrorFrame, now: float) -> None:
        await self._answer(error)
        if error.code in PROTOCOL_ERRORS and self._mistakes.take(now):
            await self.close(CLOSE_PROTOCOL)

    async def _too_many(self, sentence: str, wait: float, now: float) -> None:
        await self._answer(protocol.error_frame(RateLimited(sentence, retry_after=round(wait, 3))))
        if self._warnings.take(now):
            await self.close(CLOSE_LIMIT)

    # ─ what becomes of runs

    async def _events(self, message: dict[str, Any]) -> None:
        self._session.receive(message["run_id"], message["first_seq"], message["texts"])
        self._wake()

    def learn_heads(self, heads: Mapping[str, int], *, is_heartbeat: bool) -> None:
        """Called by the manager, between messages of this socket."""
        if self._sender is None:
            return
        self._heads |= heads
        if is_heartbeat:
            self._sender.send_head(self._heads)
            self._heads = {}
        if self._starting:
            self._late_heads |= heads
        else:
            self._take_heads(heads)

    def _take_heads(self, heads: Mapping[str, int]) -> None:
        self._session.learn_heads(heads)
        self._wake()

    def _wake(self) -> None:
        if self._sender is not None:
            self._sender.wake()

    _HANDLERS: Final[Mapping[str, Callable[[ChatConsumer, dict[str, Any]], Awaitable[None]]]] = {
        "websocket.connect": _connect,
        "websocket.receive": _receive,
        "websocket.disconnect": _disconnect,
        "run.events": _events,
    }
