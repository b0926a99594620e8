"""What a run has of the runner that executes it: others to be executed, a bell that rings for it, leave to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol

LOOK_SECONDS: Final = 1.0
"""How often a waiting run looks for itself; mostly a bell rings before."""


class Runner(Protocol):
    """The seam between those who ask for runs and those who execute them. What it is told of is in the database."""

    def enqueue(self, run_id: str) -> None:
        """Says that a run waits."""
        ...

    def cancel(self, run_id: str) -> None:
        """Says that a run is to be cancelled."""
        ...

    def ring(self, run_id: str) -> None:
        """Says that something happened for which a run waits: a child's end, an answer."""
        ...


class RemoteRunner:
    """For a process that executes no runs itself: its transactions tell the workers (agents.notices)."""

    def enqueue(self, run_id: str) -> None:
        pass

    def cancel(self, run_id: str) -> None:
        pass

    def ring(self, run_id: str) -> None:
        pass


class Desk:
    """One run's. While it waits for others it takes up no place among the runs that work, and is not stuck."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._bell: asyncio.Future[None] | None = None
        self._waits = 0
        self._people = 0
        self._waited_until: datetime | None = None

    def bell(self) -> asyncio.Future[None]:
        """Done when it rings next. Ask for it before you look at what you wait for, or you may miss it."""
        if self._bell is None:
            self._bell = asyncio.get_running_loop().create_future()
        return self._bell

    def ring(self) -> None:
        if self._bell is not None:
            self._bell.set_result(None)
            self._bell = None

    @property
    def is_waiting(self) -> bool:
        return self._waits > 0

    @property
    def waits_for_person(self) -> bool:
        return self._people > 0

    @contextmanager
    def waiting(self, *, for_person: bool = False) -> Iterator[None]:
        """While something else has to end or to be said before this run can go on."""
        self._waits += 1
        self._people += for_person
        self.runner.enqueue("")  # its place is free
        try:
            yield
        finally:
            self._waits -= 1
            self._people -= for_person
            self._waited_until = datetime.now(UTC)

    def last_waited(self, moved_at: datetime) -> datetime:
        """When the run last moved or waited; `moved_at` is when it last moved."""
        if self.is_waiting:
            return datetime.now(UTC)
        return max(moved_at, self._waited_until or moved_at)
