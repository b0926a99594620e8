"""The client's side of the protocol: what it sends, what it makes of what comes in, when it comes back.

Pure: times are given, in seconds of any clock; the client acts on what this module decides.
"""

from __future__ import annotations

import random as chance
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from notifications.cursors import GONE, Cursors, Frame, is_event, is_last, reaches

BACKOFF_FIRST: Final = 0.5
BACKOFF_MOST: Final = 8.0
"""Longer, and a run's fate would not be known within 10 s of the server's return."""
PING_EVERY: Final = 15.0
PONG_WITHIN: Final = 10.0
ESTABLISHED_WITHIN: Final = 10.0
ACK_AFTER_EVENTS: Final = 200
ACK_AFTER: Final = 0.2

FATAL: Final = {
    4400: ("protocol_error", "The server closed the connection: this client broke the protocol."),
    4401: ("session_ended", "Your session has ended. Log in again, or use another token."),
}
"""Close codes after which it makes no sense to come back."""
CLOSED: Final[Frame] = {"type": "error", "code": "closed", "message": "The client was closed."}

_KEYS: Final = {
    "run_accepted": ("start_agent", "request_id"),
    "cancel_accepted": ("cancel_run", "run_id"),
    "approval_accepted": ("resolve_approval", "approval_id"),
}
_ANSWERED_BY: Final = ("request_id", "approval_id", "run_id")
"""The first of these that an error has says which request it answers: one with just this as its last id."""


class Reader:
    """One run's events for one caller; its cursor may be behind what the client has."""

    def __init__(self, run_id: str, after: int) -> None:
        self.run_id = run_id
        self.cursor = after
        self.events: deque[Frame] = deque()
        self.ended = False
        self.error: Frame | None = None
        """The error frame after which nothing more comes."""

    def take(self, frame: Frame) -> None:
        """Keeps the frame if it is the run's next event, or a gap."""
        if self.ended or frame.get("run_id") != self.run_id:
            return
        if frame["seq"] == self.cursor + 1 if is_event(frame) else frame["missed_to"] > self.cursor:
            self.cursor = reaches(frame)
            self.events.append(frame)
            self.ended = is_last(frame)


class Step(msgspec.Struct, frozen=True):
    """What came of something that happened: new events, frames to send, and what answers which request."""

    events: list[Frame] = []
    send: list[Frame] = []
    answers: list[tuple[str, Frame]] = []


class Dialogue:
    """Status: idle, connecting, up, waiting (until `retry_at`) or stopped (for the reason in `fatal`)."""

    def __init__(self, *, random: Callable[[], float] = chance.random) -> None:
        self._random = random
        self._cursors = Cursors()
        self._requests: dict[str, Frame] = {}
        self._readers: list[Reader] = []
        self._not_before = 0.0
        self._expect_by: float | None = None
        self._ping_at: float | None = None
        self._ack_at: float | None = None
        self._pings = 0
        self.status = "idle"
        self.failures = 0
        self.retry_at = 0.0
        self.fatal: Frame | None = None

    @property
    def state(self) -> str:
        """What people are told: connecting, live, catching_up or offline."""
        if self.status == "up":
            return "catching_up" if self._cursors.catching_up else "live"
        return "offline" if self.failures or self.status == "stopped" else "connecting"

    def connect(self, now: float) -> None:
        self.status = "connecting"
        self._expect_by = now + ESTABLISHED_WITHIN

    def receive(self, frame: Frame, now: float) -> Step:
        if self.status == "up":
            self._expect_by = None
        if frame.get("type") == "connection_established":
            self._up(now)
        if is_event(frame) or frame.get("type") == "gap":
            for reader in self._readers:
                reader.take(frame)
        outcome = self._cursors.receive(frame)
        send = [self._lowered(each) for each in outcome.send]
        if frame.get("type") == "connection_established":
            send += [*self._resume_readers(send), *self._requests.values()]
        answers = self._failed(frame, now) if frame.get("type") == "error" else self._answered(frame)
        return Step(outcome.events, [*send, *self._acknowledge(now)], answers)

    def lost(self, now: float, code: int | None = None) -> Step:
        """The connection is gone, or could not be made; `code` is its close code."""
        if code in FATAL:
            fatal, message = FATAL[code]
            return self.stop({"type": "error", "code": fatal, "message": message})
        delay = self._random() * min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.status = "waiting"
        self.retry_at = max(now + delay, self._not_before)
        self._expect_by = self._ping_at = self._ack_at = None
        return Step()

    def stop(self, error: Frame = CLOSED) -> Step:
        """For good: whatever is open is answered with the error."""
        self.status = "stopped"
        self.fatal = error
        self._expect_by = self._ping_at = self._ack_at = None
        answers = [(key, error) for key in self._requests]
        self._requests.clear()
        for reader in self._readers:
            self._fail(reader, error)
        return Step(answers=answers)

    def request(self, key: str, frame: Frame) -> list[Frame]:
        """To be sent now, and after each reconnect, until it is answered. Once stopped: raises ValueError."""
        if self.status == "stopped":
            raise ValueError("the dialogue has ended")
        self._requests[key] = frame
        return [frame] if self.status == "up" else []

    def read(self, reader: Reader) -> list[Frame]:
        """Brings the reader all events of its run from its cursor on, until `unread`."""
        self._readers.append(reader)
        place = self._cursors.place(reader.run_id)
        if self.fatal is not None:
            self._fail(reader, self.fatal)
        elif place is not None and place.ended and place.cursor <= reader.cursor:
            reader.ended = True
        elif self.status == "up" and (place is None or place.cursor > reader.cursor):
            return [self._lowered(self._cursors.resume_from({reader.run_id: reader.cursor}))]
        return []

    def unread(self, reader: Reader) -> None:
        self._readers.remove(reader)

    def follow(self, run_ids: list[str]) -> list[Frame]:
        """Brings these runs here from where the cursors are; once connected if it is not yet."""
        frames = [self._lowered(frame) for frame in self._cursors.resume(run_ids)]
        return frames if self.status == "up" else []

    @property
    def due_at(self) -> float | None:
        """When `due` has something to do."""
        return min((at for at in (self._expect_by, self._ping_at, self._ack_at) if at is not None), default=None)

    def is_silent(self, now: float) -> bool:
        """Whether what had to arrive by now has not: the connection is dead, though nobody said so."""
        return self._expect_by is not None and now >= self._expect_by

    def due(self, now: float) -> list[Frame]:
        """What is to be sent because time has passed."""
        frames: list[Frame] = []
        if self._ack_at is not None and now >= self._ack_at:
            self._ack_at = None
            frames = self._cursors.acknowledge()
        if self._ping_at is not None and now >= self._ping_at:
            self._pings += 1
            self._ping_at = now + PING_EVERY
            self._expect_by = now + PONG_WITHIN
            frames.append({"type": "ping", "id": f"ping_{self._pings}"})
        return frames

    def _up(self, now: float) -> None:
        self.status = "up"
        self.failures = 0
        self._expect_by = None
        self._ping_at = now + PING_EVERY

    def _acknowledge(self, now: float) -> list[Frame]:
        if self._cursors.received >= ACK_AFTER_EVENTS:
            self._ack_at = None
            return self._cursors.acknowledge()
        if self._cursors.received and self._ack_at is None:
            self._ack_at = now + ACK_AFTER
        return []

    def _answered(self, frame: Frame) -> list[tuple[str, Frame]]:
        kind, field = _KEYS.get(frame.get("type", ""), ("", ""))
        key = request_key(kind, str(frame.get(field)))
        return [(key, frame)] if self._requests.pop(key, None) else []

    def _failed(self, error: Frame, now: float) -> list[tuple[str, Frame]]:
        if error.get("retry_after") and "request_id" not in error:
            self._not_before = now + error["retry_after"]
        if error.get("code") in GONE:
            for reader in self._readers:
                if reader.run_id == error.get("run_id"):
                    self._fail(reader, error)
        keys = [key for key, frame in self._requests.items() if _answers(error, frame)]
        for key in keys:
            del self._requests[key]
        return [(key, error) for key in keys]

    def _fail(self, reader: Reader, error: Frame) -> None:
        if not reader.ended:
            reader.ended, reader.error = True, error

    def _resume_readers(self, resumes: list[Frame]) -> list[Frame]:
        """For readers that are further back than the cursors, and that none of these resumes serves."""
        behind: dict[str, int] = {}
        served = {run_id for resume in resumes for run_id in resume["cursors"]}
        for reader in self._readers:
            place = self._cursors.place(reader.run_id)
            is_behind = place is None or place.cursor > reader.cursor
            if is_behind and not reader.ended and reader.run_id not in served:
                behind[reader.run_id] = min(reader.cursor, behind.get(reader.run_id, reader.cursor))
        return [self._cursors.resume_from(behind)] if behind else []

    def _lowered(self, frame: Frame) -> Frame:
        """A resume goes back to the reader that is furthest behind."""
        cursors = dict(frame["cursors"])
        for reader in self._readers:
            if not reader.ended and reader.run_id in cursors:
                cursors[reader.run_id] = min(cursors[reader.run_id], reader.cursor)
        return {**frame, "cursors": cursors}


def _answers(error: Frame, request: Frame) -> bool:
    named = next((name for name in _ANSWERED_BY if name in error), None)
    return (
        named is not None
        and named == next(name for name in _ANSWERED_BY if name in request)
        and (error[named] == request[named])
    )


def request_key(kind: str, id_: str) -> str:
    """What names a request until it is answered."""
    return f"{kind} {id_}"
