"""The socket: reads client messages, obeys the delivery session, and never closes with 1011.

Two tasks serve a socket. The consumer's own handles what comes in, one message after the other; the sender brings
events out. So a ping is answered while a long replay is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from agents.database import AWAY, in_database
from agents.errors import NotReady
from agents.ids import Prefix, new_id
from agents.intake import Intake
from notifications import protocol, servers
from notifications.authentication import Credential, authenticate
from notifications.log import read_runs
from notifications.manager import CLOSE_COME_BACK, Identity, WebSocketManager
from notifications.protocol import ErrorFrame, RateLimited, SessionEnded
from notifications.receiver import ANSWER_SECONDS, CLOSE_LIMIT, CLOSE_PROTOCOL, MessageReceiver, SocketLimits
from notifications.sender import EventSender
from notifications.session import DeliverySession, Position

ENDED_LATELY: Final = timedelta(minutes=2)
CLOSE_SESSION_ENDED: Final = 4401
CLIENT_CHARACTERS: Final = 200

IsReady = Callable[[], Awaitable[bool]]
"""Whether this process serves new sockets: what its /readyz says."""

log = structlog.get_logger(__name__)


class ChatConsumer(AsyncConsumer):
    """A user's own socket. Others decide who is let in, of which runs it hears, and what may be said, by overriding."""

    receiver_class: ClassVar[type[MessageReceiver]] = MessageReceiver
    is_watching: ClassVar[bool] = False
    user_id: int
    credential: Credential
    identity: Identity

    def __init__(self, *, is_ready: IsReady, manager: WebSocketManager, intake: Intake, limits: SocketLimits) -> None:
        self._is_ready = is_ready
        self._manager = manager
        self._intake = intake
        self._limits = limits
        self._session = DeliverySession()
        self._sender: EventSender | None = None
        self._receiver: MessageReceiver | None = None
        self._accepted = False
        self._joined = False
        self._closed = False
        self._heads: dict[str, int] = {}
        self._early: list[Callable[[], None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Without a channel of its own: whatever becomes of the layer, the manager speaks to its sockets directly."""
        self.scope = scope
        self.base_send = send
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            await self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handles one message of the server. Without channels' hop through asgiref's shared thread."""
        handler = self._HANDLERS.get(message["type"])
        if handler is None:
            return
        try:
            await handler(self, message)
        except (StopConsumer, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("handler failed", message_type=message["type"])
            if self._sender is not None:
                await self._answer(ErrorFrame(code="internal", message="Netra failed here. Please try again."))
            else:
                await self._send_away()

    # ─ the socket's life

    async def _connect(self, _: dict[str, Any]) -> None:
        if not await self._within_time(self._is_ready()):
            await self._send_away()
            return
        if not await self._within_time(in_database(self._let_in)):
            await self.close(CLOSE_PROTOCOL)  # before the upgrade: the server answers 403
            return
        self.identity = Identity(
            connection_id=new_id(Prefix.CONNECTION), client=_client_of(self.scope), opened_at=protocol.now()
        )
        await self._accept()
        self._joined = True
        if self._manager.connected(self) > self._limits.sockets_per_user:
            sentence = "You have too many connections open. Close some tabs and reload."
            await self._answer(protocol.error_frame(RateLimited(sentence, retry_after=30)))
            await self.close(CLOSE_LIMIT)
            return
        await self._begin()

    def _let_in(self) -> bool:
        """Sets who has opened the socket and of whose runs it hears. Sync."""
        credential = authenticate(dict(self.scope))
        if credential is not None:
            self.credential, self.user_id = credential, credential.user_id
        return credential is not None

    def _read_runs(self) -> tuple[list[protocol.LiveRun], dict[str, int]]:
        """The live runs, and the heads of those of which the socket may hear soon. Sync."""
        return read_runs(self.user_id, protocol.now() - ENDED_LATELY)

    async def _begin(self) -> None:
        """Joins the group, then reads the heads: an event is in the one or comes by the other."""
        await self._manager.attend(self)
        runs, heads = await self._within_time(in_database(self._read_runs))
        self._session.begin(heads)
        await self._answer(
            protocol.ConnectionEstablished(
                protocol=protocol.VERSION,
                connection_id=self.identity.connection_id,
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
        self._receiver = self._receiver_for(self._sender)
        early, self._early = self._early, []
        for news in early:
            self._receiver.take(news)

    def _receiver_for(self, sender: EventSender) -> MessageReceiver:
        return self.receiver_class(
            user_id=self.user_id,
            session=self._session,
            sender=sender,
            manager=self._manager,
            intake=self._intake,
            limits=self._limits,
            answer=self._answer,
            close=self.close,
        )

    async def _within_time(self, work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await work
        except (TimeoutError, *AWAY) as cause:
            log.warning("socket not served", error=repr(cause))
            await self._send_away()
            raise StopConsumer from cause

    async def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            await self._put({"type": "websocket.accept"})

    async def _send_away(self) -> None:
        """Says why the socket is not served, which a refused handshake could not, and has the client come back."""
        await self._accept()
        error = NotReady("Netra cannot serve you right now. Please reconnect in a moment.", retry_after=2)
        await self._answer(protocol.error_frame(error))
        await self.close(CLOSE_COME_BACK)

    async def _disconnect(self, _: dict[str, Any]) -> None:
        self._closed = True
        servers.forget_unsent(self.base_send)
        raise StopConsumer

    async def _leave(self) -> None:
        """Also when the server cancels this consumer without a disconnect."""
        self._closed = True
        if self._sender is not None:
            self._sender.stop()
        self._sender = self._receiver = None  # they know this consumer: what they hold goes now, not when Python looks
        if self._joined:
            await self._manager.disconnected(self)

    async def close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            with suppress(*servers.GONE):
                await servers.close(self.base_send, code)

    async def _answer(self, message: protocol.ServerMessage) -> None:
        await self._send_text(protocol.encode(message))

    async def _send_text(self, text: str) -> None:
        if not self._closed:
            await self._put({"type": "websocket.send", "text": text})

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            await servers.put(self.base_send, message)
        except servers.GONE:
            self._closed = True

    def take_moved(self) -> dict[str, Position]:
        """Called by whoever tells operators of sockets."""
        return self._session.take_moved()

    async def end_session(self) -> None:
        """Called by the manager when the credential does not count any more."""
        await self._answer(protocol.error_frame(SessionEnded("Your session has ended. Please log in again.")))
        await self.close(CLOSE_SESSION_ENDED)

    async def _receive(self, message: dict[str, Any]) -> None:
        if not self._closed and self._receiver is not None:
            await self._receiver.receive(message.get("text"))

    # ─ what becomes of runs

    def take_events(self, run_id: str, first_seq: int, texts: Sequence[str]) -> None:
        """Called by the manager with what was committed just now."""
        self._take(partial(self._session.receive, run_id, first_seq, texts))

    def learn_heads(self, heads: Mapping[str, int], *, is_heartbeat: bool) -> None:
        """Called by the manager with what is in the log."""
        self._heads |= heads
        if is_heartbeat and self._sender is not None:
            self._sender.send_head(self._heads)
            self._heads = {}
        self._take(partial(self._session.learn_heads, heads))

    def _take(self, news: Callable[[], None]) -> None:
        if self._receiver is None:
            self._early.append(news)
        else:
            self._receiver.take(news)

    _HANDLERS: Final[Mapping[str, Callable[[ChatConsumer, dict[str, Any]], Awaitable[None]]]] = {
        "websocket.connect": _connect,
        "websocket.receive": _receive,
        "websocket.disconnect": _disconnect,
    }


def _client_of(scope: Mapping[str, Any]) -> str:
    """What the client calls itself, fit for a column."""
    said = next((value for name, value in scope["headers"] if name.lower() == b"user-agent"), b"").decode("latin-1")
    return "".join(character for character in said if character.isprintable())[:CLIENT_CHARACTERS]
