from __future__ import annotations

import argparse
import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from agents.registry import get_agent_registry
from netra.listener import listen
from netra.operations import Operations
from netra.services import Services

NO_DATABASE = (
    "A worker shares its runs with other processes, and SQLite is for one: set DATABASE_URL to the PostgreSQL that the"
    " web processes use. (Without a worker nothing is missing: the server then executes the runs itself.)"
)
NO_LAYER = (
    "The channel layer in memory reaches no other process, so nobody would see what a worker's agents do at once: set"
    " REDIS_URL, here and for the web processes."
)


class Command(BaseCommand):
    help = "Executes runs: many at once in one process. SIGTERM lets those under way end, within the grace period."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--runs",
            type=int,
            default=settings.NETRA_RUNS_TOTAL,
            help="How many runs at once (default: NETRA_RUNS_TOTAL, %(default)s).",
        )

        parser.add_argument(
            "--port", type=int, help="Where it answers /healthz, /readyz and /metrics (default: nowhere)."
        )

    def handle(self, *, runs: int, port: int | None, **_options: Any) -> None:
        if connection.vendor == "sqlite":
            raise CommandError(NO_DATABASE)
        if not settings.NETRA_REDIS_HOSTS:
            raise CommandError(NO_LAYER)
        if runs < 1:
            raise CommandError("A worker executes one run at the least: --runs 1.")
        asyncio.run(work(runs, port))


async def work(runs: int, port: int | None) -> None:
    """Until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    services = Services(get_agent_registry(), runs_agents=True, runs=runs)
    services.start()
    operations = Operations(services.health, services.metrics, metrics_token=settings.NETRA_METRICS_TOKEN)
    server = await listen(operations, settings.HOST, port) if port else None
    await ended.wait()
    await services.stop()
    if server is not None:
        server.close()
