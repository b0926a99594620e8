"""`manage.py prune_events`: frees the space of runs that ended long ago."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from agents.pruning import prune_events

_AGE = re.compile(r"(\d{1,6})([dhm])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


class Command(BaseCommand):
    help = "Deletes the events of runs that ended long ago; keeps their records and agent_completed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            default=settings.NETRA_KEEP_EVENTS,
            metavar="AGE",
            help="Age since the run ended: 30d, 12h or 90m (default: NETRA_KEEP_EVENTS, %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        match = _AGE.fullmatch(options["older_than"])
        if match is None:
            raise CommandError(f"{options['older_than']!r} is no age. Give days, hours or minutes: 30d, 12h, 90m.")
        runs = events = 0
        for more_runs, more_events in prune_events(ended_before=timezone.now() - int(match[1]) * _UNITS[match[2]]):
            runs, events = runs + more_runs, events + more_events
        self.stdout.write(f"Deleted {events:,} events of {runs:,} runs that ended more than {match[0]} ago.")
