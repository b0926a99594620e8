"""`manage.py generate_runs`: fills a database with runs that nobody asked for."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from agents.registry import get_agent_registry
from netra.generated_runs import LEAST_EVENTS, Plan, generate


class Command(BaseCommand):
    help = (
        "Fills the database with runs that nobody asked for, their users, phases and events, to see how Netra does with"
        " very many. For a database of its own: no server may use it meanwhile, and nothing takes them out again."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=10_000, help="How many (default: %(default)s).")
        parser.add_argument("--events", type=int, default=20, help="Of each run that has ended (default: %(default)s).")
        parser.add_argument("--live", type=int, default=100, help="So many have not ended (default: %(default)s).")
        parser.add_argument("--days", type=float, default=30.0, help="When the first one began (default: %(default)s).")
        parser.add_argument(
            "--into-this-database", action="store_true", help="Also where NETRA_TEST_AGENTS is not 1, as in production."
        )

    def handle(
        self, *, runs: int, events: int, live: int, days: float, into_this_database: bool, **_options: Any
    ) -> None:
        if not (settings.NETRA_TEST_AGENTS or into_this_database):
            raise CommandError(
                "This is not a database for tests: NETRA_TEST_AGENTS is not 1. Generated runs cannot be told from real"
                " ones and taken out again. If you want them here all the same, give --into-this-database."
            )
        if runs < 1 or events < LEAST_EVENTS or not 0 <= live <= runs or days <= 0:
            raise CommandError(f"Give 1 run or more, {LEAST_EVENTS} events or more, no more live runs than runs.")
        now = timezone.now()
        agents = [spec.name for spec in get_agent_registry().agents()]
        plan = Plan(runs=runs, events=events, live=live, agents=agents, begin=now - timedelta(days=days), now=now)
        for done in generate(plan):
            self.stdout.write(f"\r{done:,} runs", ending="")
            self.stdout.flush()
        self.stdout.write(f"\rGenerated {runs:,} runs with {events:,} events each in {timezone.now() - now}.")
