"""Flow control of one socket: how much is on its way to a client, and how much more may be. Decides; does no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

WINDOW_EVENTS: Final = 1_000
WINDOW_BYTES: Final = 1_048_576
"""What may be on its way to a client that acks (protocol.md, Duties)."""


class Place(msgspec.Struct, eq=False, kw_only=True):
    """How far a client is in one run: what it has been sent and what it has acked, by seq; `sizes` are the bytes of the
    frames in between."""

    sent: int
    acked: int
    sizes: deque[int] | None = None


class Window:
    """Of all runs of one socket. A client that has never acked is held up by nothing; the first ack turns it on."""

    def __init__(self) -> None:
        self.is_on = False
        self._events = 0
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the client must ack before anything more is sent."""
        return self.is_on and (self._events >= WINDOW_EVENTS or self._bytes >= WINDOW_BYTES)

    @property
    def bytes_left(self) -> float:
        return WINDOW_BYTES - self._bytes if self.is_on else float("inf")

    def events_left(self, most: int) -> int:
        """At least one, at most `most`."""
        return min(most, max(1, WINDOW_EVENTS - self._events)) if self.is_on else most

    def send(self, place: Place, texts: Sequence[str]) -> None:
        place.sent += len(texts)
        self._events += len(texts)
        if self.is_on:
            place.sizes = place.sizes if place.sizes is not None else deque()
            for size in map(_bytes_of, texts):
                place.sizes.append(size)
                self._bytes += size

    def ack(self, place: Place, cursor: int) -> bool:
        """Whether that is news; acks beyond what was sent, or behind what was acked, are none."""
        newly = min(cursor, place.sent) - place.acked
        if newly <= 0:
            return False
        place.acked += newly
        self._events -= newly
        while place.sizes and len(place.sizes) > place.sent - place.acked:
            self._bytes -= place.sizes.popleft()
        return True

    def skip(self, place: Place, seq: int) -> None:
        """Nothing up to there will be sent, or acked."""
        place.acked += seq - place.sent
        place.sent = seq

    def forget(self, place: Place) -> None:
        """What is on its way in that run counts no more."""
        self._events -= place.sent - place.acked
        self._bytes -= sum(place.sizes or ())
        place.sizes = None


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
