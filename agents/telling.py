"""Says from any thread, to the runners of this process, what has become of a run. It is in the database already.

They hear of it at once; those of other processes by a notice (agents.notices), or when they next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from agents.desk import Runner


class Hearer(Runner, Protocol):
    def leave(self, run_id: str) -> None:
        """Says that a run has ended, or is anybody's: who executes it is to leave it."""
        ...


_hearers: Final[dict[Hearer, asyncio.AbstractEventLoop]] = {}


def begin_to_hear(hearer: Hearer, loop: asyncio.AbstractEventLoop) -> None:
    """From now on it is told, in its own event loop."""
    _hearers[hearer] = loop


def hear_no_more(hearer: Hearer) -> None:
    _hearers.pop(hearer, None)


def tell_of_run(run_id: str) -> None:
    """A run waits."""
    _tell(lambda hearer: hearer.enqueue(run_id))


def tell_of_cancel(run_id: str) -> None:
    """A run is to be cancelled."""
    _tell(lambda hearer: hearer.cancel(run_id))


def tell_of_answer(run_id: str) -> None:
    """Something happened for which a run waits."""
    _tell(lambda hearer: hearer.ring(run_id))


def tell_to_leave(run_id: str) -> None:
    """A run has ended, or is anybody's."""
    _tell(lambda hearer: hearer.leave(run_id))


def _tell(tell: Callable[[Hearer], None]) -> None:
    for hearer, loop in list(_hearers.items()):
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, hearer)
