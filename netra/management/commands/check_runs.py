"""`manage.py check_runs`: for cron, or for whoever wants to know by exit code whether anybody waits too long."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from agents.database import AWAY, call
from netra.console.overdue import Overdue, read_overdue
from netra.console.words import spell
from netra.environment import MOST_SECONDS


class Command(BaseCommand):
    help = (
        "Tells which runs lack agent_completed for too long, and why. Exit code 0: no more than allowed, and nothing is"
        " said; 1: too many; 2: the database could not be asked."
    )
    requires_system_checks: Any = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--older-than", type=float, default=60.0, metavar="SECONDS", help="Since a run was made (default: 60)."
        )
        parser.add_argument(
            "--max", type=int, default=0, dest="most", metavar="RUNS", help="So many are allowed (default: 0)."
        )
        parser.add_argument(
            "--only-frozen",
            action="store_true",
            help="Count only runs that do not move: not those that are busy, or wait for an approval or for others.",
        )

    def handle(self, *, older_than: float, most: int, only_frozen: bool, **_options: Any) -> None:
        if not 0 <= older_than <= MOST_SECONDS or most < 0:
            sentence = f"Give seconds from 0 to {MOST_SECONDS}, and a number of runs of 0 or more."
            raise CommandError(sentence, returncode=2)
        try:
            found = call(read_overdue, timezone.now(), older_than=older_than, only_frozen=only_frozen)
        except AWAY as error:
            raise CommandError(f"The database cannot be asked: {error}", returncode=2) from error
        if found.count > most:
            for line in _lines(found):
                self.stdout.write(line)
            runs = "1 run lacks" if found.count == 1 else f"{found.count:,} runs lack"
            raise CommandError(f"{runs} agent_completed for more than {spell(older_than)}.", returncode=1)
        if int(_options["verbosity"]) > 1:
            self.stdout.write(f"{found.count:,} lack agent_completed for more than {spell(older_than)}.")


def _lines(found: Overdue) -> list[str]:
    lines = [f"{run.run_id}  {run.agent_name}  {spell(run.age)} old: {run.why}" for run in found.runs]
    if left := found.count - len(found.runs):
        lines.append(f"… and {left:,} more")
    return lines
