"""A client's connection: made, served, lost and made again, as its dialogue decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from notifications.cursors import Frame
from notifications.dialogue import Dialogue, Step

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
REFUSED: Final = "The server refused the token or ticket: it is wrong, used or expired, or its user is not active."

Ticket = Callable[[], Awaitable[str]]
Tell = Callable[[Step], Awaitable[None]]


class ClientError(Exception):
    """An `error` frame, or the client's own refusal in the same words. The message is for people."""

    def __init__(self, code: str, message: str, *, field: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after


class Refused(ClientError):
    """The server does not let this client in; its code says why."""


class NothingAnswers(ClientError):
    """Nobody listens at the address, or it is no Netra."""


class Connection:
    """A socket that comes back, for a dialogue that decides when; `tell` hears of each step."""

    def __init__(self, url: str, *, token: str | None, ticket: Ticket | None, dialogue: Dialogue, tell: Tell) -> None:
        self.url = url
        self._token = token
        self._ticket = ticket
        self._dialogue = dialogue
        self._tell = tell
        self._socket: ClientConnection | None = None
        self._entered = False
        self._last_error: Frame | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Returns when the server is ready to serve. Raises Refused or NothingAnswers if it cannot get in."""
        entering: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._stay_connected(entering), name="netra client")
        try:
            await entering
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """For good."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._take(self._dialogue.stop())

    async def send(self, frames: list[Frame]) -> None:
        """What cannot be sent any more is sent after the reconnect: by the cursors, or because it is unanswered."""
        if self._socket is not None:
            with suppress(ConnectionClosed):
                for frame in frames:
                    await self._socket.send(encode(frame), text=True)

    async def _stay_connected(self, entering: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._dialogue.status != "stopped":
                self._dialogue.connect(loop.time())
                code = await self._serve_once(entering)
                await self._take(self._dialogue.lost(loop.time(), code))
                self._require_entered(code)
                if self._dialogue.status == "waiting":
                    await asyncio.sleep(self._dialogue.retry_at - loop.time())
        except Exception as error:  # also those of the function that gets tickets
            problem = self._nothing_answers(error) if isinstance(error, (WebSocketException, OSError)) else error
            if not entering.done():
                entering.set_exception(problem)
            reason = problem.code if isinstance(problem, ClientError) else "closed"
            await self._take(self._dialogue.stop({"type": "error", "code": reason, "message": str(problem)}))

    async def _serve_once(self, entering: asyncio.Future[None]) -> int | None:
        """One connection from its beginning to its end; returns its close code. The first attempt's errors come out."""
        try:
            async with self._connect(await self._address()) as socket:
                self._socket = socket
                await self._serve(socket, entering)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None
        except InvalidStatus as refused:
            error = self._refused(refused.response.status_code)
            if isinstance(error, Refused) or not self._entered:
                raise error from refused
        except (WebSocketException, OSError, TimeoutError):
            if not self._entered:
                raise
        finally:
            self._socket = None
        return None

    async def _serve(self, socket: ClientConnection, entering: asyncio.Future[None]) -> None:
        """Reads and does what is due, until the connection is closed or silent."""
        now = asyncio.get_running_loop().time
        while not self._dialogue.is_silent(now()):
            try:
                async with asyncio.timeout_at(self._dialogue.due_at):
                    text = await socket.recv()
            except TimeoutError:
                await self.send(self._dialogue.due(now()))
                continue
            if (frame := _parse(text)) is not None:
                await self._take(self._dialogue.receive(frame, now()))
                self._note(frame, entering)

    def _note(self, frame: Frame, entering: asyncio.Future[None]) -> None:
        if frame.get("type") == "error":
            self._last_error = frame
        if frame.get("type") == "connection_established":
            self._entered, self._last_error = True, None
            if not entering.done():
                entering.set_result(None)

    async def _take(self, step: Step) -> None:
        await self.send(step.send)
        await self._tell(step)

    async def _address(self) -> str:
        if self._ticket is None:
            return self.url
        return f"{self.url}?ticket={quote(await self._ticket())}"

    def _connect(self, address: str) -> connect:
        return connect(
            address,
            additional_headers={} if self._token is None else {"Authorization": f"Bearer {self._token}"},
            compression=None,
            ping_interval=None,  # Netra's own pings find dead connections
            open_timeout=CONNECT_SECONDS,
            close_timeout=CLOSE_SECONDS,
            proxy=None if is_local(address) else True,
        )

    def _refused(self, status: int) -> ClientError:
        if status in {401, 403}:
            return Refused("refused", REFUSED)
        return NothingAnswers("no_netra", f"{self.url} answers with HTTP {status}, so it is no Netra, or not ready.")

    def _require_entered(self, code: int | None) -> None:
        """Raises Refused or NothingAnswers when the first connection ended before the server was ready to serve."""
        if self._entered:
            return
        if (error := self._last_error or self._dialogue.fatal) is not None:
            raise Refused(error["code"], error["message"], retry_after=error.get("retry_after"))
        ending = "did not say that it is ready" if code is None else f"closed the connection at once ({code})"
        raise NothingAnswers("no_netra", f"{self.url} {ending}.")

    def _nothing_answers(self, error: Exception) -> NothingAnswers:
        if isinstance(error, WebSocketException):
            return NothingAnswers("no_netra", f"What answers at {self.url} is no WebSocket server.")
        return NothingAnswers("nothing_answers", f"Nothing answers at {self.url}.")


def socket_url(url: str) -> str:
    """The address of a Netra's socket, from that or from its web address. Raises ValueError."""
    given = urlsplit(url if "://" in url else f"http://{url}")
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(given.scheme)
    if scheme is None or not given.hostname or given.query or given.fragment or given.username is not None:
        raise ValueError(f"{url!r} is not the address of a server; expected one such as http://127.0.0.1:8000.")
    if given.port == 0:
        raise ValueError(f"{url!r} has a port that nobody listens on.")
    path = given.path.rstrip("/").removesuffix("/ws")
    return f"{scheme}://{given.netloc}{path}/ws/"


def is_local(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


encode: Final = msgspec.json.Encoder().encode


def _parse(text: str | bytes) -> Frame | None:
    """None: what is no JSON object is ignored, as a message of a later version would be."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError):
        return None


def as_exception(error: Frame) -> ClientError:
    code, message = str(error.get("code", "internal")), str(error.get("message", "The server gave no reason."))
    return ClientError(code, message, field=error.get("field"), retry_after=error.get("retry_after"))
