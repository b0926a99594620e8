"""The ASGI application: HTTP by Django, sockets by notifications, and the embedded runner beside them.

The runner starts with the event loop that serves requests, whichever server runs it, and in no other process: on
daphne, which has no lifespan, as soon as its reactor runs; on other servers with the lifespan or the first request.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netra.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings

from agents.registry import get_agent_registry
from netra import checks
from netra.console.alerts import Alerts, rule_of_settings
from netra.console.watch import WATCH_PATH, RunWatch
from netra.operations import Operations, Receive, Scope, Send
from netra.services import Services
from notifications.routing import build_router
from notifications.servers import make_no_debug_texts

WAITING_CONNECTIONS = 4096
"""How many may wait to be accepted. Of the 50 that Twisted lets wait, a crowd that reconnects is told nothing, and
tries again after 1, 3, 7, 15 s and so on."""


class NetraApplication:
    def __init__(self) -> None:
        self._services: Services | None = None
        self._sockets: Any = None
        self._operations: Any = None
        self._alerts: Alerts | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.start()
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif self._operations.owns(scope):
            await self._operations(scope, receive, send)
        elif scope["type"] == "http":
            await django_application(scope, receive, cast("Any", send))
        else:
            await self._lifespan(receive, send)

    def start(self) -> None:
        """Starts the services in the running event loop, once."""
        if self._services is None:
            self._services = Services(get_agent_registry())
            self._operations = Operations(
                self._services.health, self._services.metrics, metrics_token=settings.NETRA_METRICS_TOKEN
            )
            self._sockets = build_router(
                is_ready=self._services.health.is_ready,
                manager=self._services.manager,
                intake=self._services.intake,
                limits=self._services.socket_limits,
                others={WATCH_PATH: RunWatch},
            )
            self._services.start()
            if (rule := rule_of_settings()) is not None:
                self._alerts = Alerts(rule)
                self._alerts.start()

    async def stop(self) -> None:
        if self._alerts is not None:
            await self._alerts.stop()
        if self._services is not None:
            await self._services.stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                assert self._services is not None
                await self._services.health.is_ready()  # by then it is known, and the first sockets need not wait
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def end_tasks() -> None:
    """Ends every other task of the loop: those that wait when the interpreter goes down can crash it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=2.0)


def end_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
    """A client may come while the reactor stops."""
    if not loop.is_closed():
        loop.run_until_complete(end_tasks())


def live_with_daphne(netra: NetraApplication) -> None:
    """Starts with daphne's reactor; on SIGTERM and SIGINT lets runs end before it stops."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 - daphne has installed the right one by now
    from twisted.internet.tcp import Port  # noqa: PLC0415 - as above

    make_no_debug_texts()
    reactor: Any = installed
    loop = reactor._asyncioEventloop

    async def stop_gracefully() -> None:
        try:
            await netra.stop()
            await end_tasks()
        finally:
            reactor.stop()

    def on_signal() -> None:
        if netra._stopping is None:
            netra._stopping = loop.create_task(stop_gracefully())

    def begin() -> None:
        netra.start()
        for reader in reactor.getReaders():
            if isinstance(reader, Port):
                reader.socket.listen(max(reader.backlog, WAITING_CONNECTIONS))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)

    atexit.register(end_what_is_left, loop)
    reactor.callWhenRunning(lambda: loop.call_soon(begin))


checks.refuse_half_configured()
application = NetraApplication()

if "daphne.server" in sys.modules:
    live_with_daphne(application)
