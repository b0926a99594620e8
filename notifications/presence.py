"""Which sockets are connected, and how far each client is, written down for operators by each process's one task.

Sockets know nothing of it: the task looks at them every SECONDS and writes what has changed since, on a connection of
its own. Whatever becomes of that, nothing is sent later for it, and no socket ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, ParamSpec, TypeVar

import msgspec
import structlog
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from agents.database import OwnThread
from notifications.manager import Socket, WebSocketManager
from notifications.models import ConnectedSocket, SocketProcess
from notifications.session import Position

SECONDS: Final = 2.0
SILENT: Final = timedelta(seconds=10)
"""A process that was not seen for so long has no sockets any more."""
FORGOTTEN: Final = timedelta(minutes=1)
ROWS: Final = 500
"""Written at most each time; a crowd that comes at once is told of in several."""
PLACES: Final = 20
"""Runs of a socket that are told of: those in which it got on last."""
SHOWN: Final = 100
FAREWELL_SECONDS: Final = 1.0

Places = dict[str, Position]
"""By run_id."""

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)


class SocketView(msgspec.Struct, frozen=True, kw_only=True):
    """A socket of a user, as it was some seconds ago. `places` are the runs in which it got on last, by run_id."""

    connection_id: str
    user_id: int
    process: str
    client: str
    opened_at: datetime
    places: Places


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seen_at: datetime
    sockets: int


def sockets_of(user_id: int, now: datetime | None = None) -> list[SocketView]:
    """A user's sockets, of all processes, the latest first; SHOWN at most. One query."""
    seen = (now or timezone.now()) - SILENT
    found = ConnectedSocket.objects.filter(user_id=user_id, process__seen_at__gte=seen).select_related("process")
    return [
        SocketView(
            connection_id=row.connection_id,
            user_id=user_id,
            process=str(row.process),
            client=row.client,
            opened_at=row.opened_at,
            places=msgspec.json.decode(row.places, type=Places),
        )
        for row in found.order_by("-opened_at", "-pk")[:SHOWN]
    ]


def processes_with_sockets(now: datetime | None = None) -> list[ProcessView]:
    """The processes that serve sockets, and how many each has. One query."""
    there = SocketProcess.objects.filter(seen_at__gte=(now or timezone.now()) - SILENT)
    counted = there.annotate(count=Count("sockets")).order_by("host", "pid")[:SHOWN]
    return [ProcessView(name=str(process), seen_at=process.seen_at, sockets=process.count) for process in counted]


class Presence:
    """One per process; lives in the event loop that serves the sockets."""

    def __init__(self, manager: WebSocketManager, *, every: float = SECONDS) -> None:
        self._manager = manager
        self._every = every
        self._thread = OwnThread("presence")
        self._process: int | None = None
        self._places: dict[str, Places] = {}
        self._written: set[str] = set()
        self._due: dict[str, None] = {}
        self._cleared_at = float("-inf")
        self._stopping = asyncio.Event()
        self._duty: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._duty = asyncio.create_task(self._tell_for_ever(), name="presence")

    async def stop(self) -> None:
        """Says that this process has no sockets any more, if the database listens."""
        self._stopping.set()
        if self._duty is not None:
            await asyncio.wait({self._duty}, timeout=FAREWELL_SECONDS)
            self._duty.cancel()
        self._thread.close()

    async def _tell_for_ever(self) -> None:
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await self._stopping.wait()
            except TimeoutError:
                await self._tell()
        if self._process is not None:
            await self._write(forget_process, self._process)

    async def _tell(self) -> None:
        users = (socket for socket in self._manager.sockets() if not socket.is_watching)
        sockets = {socket.identity.connection_id: socket for socket in users}
        self._look_at(sockets)
        if self._process is None and not sockets:  # a process that never had a socket says nothing
            return
        due = list(self._due)[:ROWS]
        told = [_row_of(sockets[connection_id], self._places[connection_id]) for connection_id in due]
        gone = list(self._written - sockets.keys())[:ROWS]
        process = await self._write(tell, self._process, told=told, gone=gone, clears=self._clears())
        if process is None:
            return
        if process != self._process:  # another one had cleared us away, and all our sockets with us
            self._process, self._written = process, set()
            self._due = dict.fromkeys(sockets)
        self._written = self._written.union(due).difference(gone)
        for connection_id in due:
            del self._due[connection_id]

    def _look_at(self, sockets: Mapping[str, Socket]) -> None:
        for connection_id in self._places.keys() - sockets.keys():
            del self._places[connection_id]
            self._due.pop(connection_id, None)
        for connection_id, each in sockets.items():
            moved = each.take_moved()
            if moved or connection_id not in self._places:
                before = self._places.get(connection_id, {})
                still = {run_id: at for run_id, at in before.items() if run_id not in moved}
                self._places[connection_id] = dict(list((still | moved).items())[-PLACES:])
                self._due[connection_id] = None

    def _clears(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._cleared_at < FORGOTTEN.total_seconds():
            return False
        self._cleared_at = now
        return True

    async def _write(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """None: nothing was written, or nobody knows. It is tried again with the next round, which does no harm."""
        try:
            return await self._thread.call(function, *args, **kwargs)
        except Exception as error:  # whatever it is: operators see an old number, and no user anything
            log.warning("sockets not told of", error=repr(error))
            return None


def tell(
    process: int | None,
    *,
    told: Sequence[ConnectedSocket],
    gone: Collection[str],
    clears: bool,
    now: datetime | None = None,
) -> int:
    """Notes that a process is there, what its sockets are and which are gone. Returns the process's key: a new one
    for None, or when the process had been taken for dead."""
    now = now or timezone.now()
    with transaction.atomic():
        if process is None or not SocketProcess.objects.filter(pk=process).update(seen_at=now):
            host = socket.gethostname()[:255]
            process = SocketProcess.objects.create(host=host, pid=os.getpid(), started_at=now, seen_at=now).pk
        if clears:
            SocketProcess.objects.filter(seen_at__lt=now - FORGOTTEN).delete()
        ConnectedSocket.objects.filter(connection_id__in=gone).delete()
        for row in told:
            row.process_id = process
        ConnectedSocket.objects.bulk_create(
            told, update_conflicts=True, unique_fields=["connection_id"], update_fields=["process", "places"]
        )
        return process


def forget_process(process: int) -> None:
    SocketProcess.objects.filter(pk=process).delete()


def _row_of(each: Socket, places: Places) -> ConnectedSocket:
    return ConnectedSocket(
        connection_id=each.identity.connection_id,
        user_id=each.user_id,
        client=each.identity.client,
        opened_at=each.identity.opened_at,
        places=msgspec.json.encode(places).decode(),
    )
