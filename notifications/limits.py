"""How often a client may do something. Pure: the time is given."""

from __future__ import annotations


class RateLimit:
    """At most `most` times in `seconds`, counted in windows that begin with the first time."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._since = float("-inf")
        self._count = 0

    def take(self, now: float) -> float:
        """Counts one and returns 0, or the seconds until the next window if that is one too many."""
        if now - self._since >= self._seconds:
            self._since = now
            self._count = 0
        self._count += 1
        return 0.0 if self._count <= self._most else min(self._seconds, self._since + self._seconds - now)
