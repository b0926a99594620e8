"""What one socket has been sent of each run, and what goes out next. Decides; does no I/O.

Live delivery, replay and reconnection are one path: whatever a session learns of a run only raises its head, and
`next` says how to get the socket there: from what came in live, or out of the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from notifications.window import Place, Window

HELD_EVENTS: Final = 2_000
HELD_CHARACTERS: Final = 500_000
"""Live frames kept for one socket; beyond it they are dropped and read from the log when their turn comes."""
SEND_EVENTS: Final = 100
SEND_CHARACTERS: Final = 100_000
"""About what is sent at once, before one looks whether the client takes it."""
FETCH_EVENTS: Final = 200
KNOWN_RUNS: Final = 1_000
"""Runs that a socket keeps all about; of older ones that rest it keeps where it is."""
SETTLED_RUNS: Final = 100_000


class Send(msgspec.Struct, frozen=True):
    """Frames to be sent now, in this order."""

    texts: list[str]


Cause = Literal["gap", "overflow", "resume"]
"""Why events are read from the log: they did not come live, there was no room for them, or the client asked."""


class Fetch(msgspec.Struct, frozen=True):
    """Events to be read from the log, then handed to `fetched`."""

    run_id: str
    after: int
    limit: int
    cause: Cause = "gap"


class Gap(msgspec.Struct, frozen=True):
    """Events that the log no longer holds; the client gets a snapshot of the run in their place."""

    run_id: str
    missed_from: int
    missed_to: int


class CaughtUp(msgspec.Struct, frozen=True):
    """A resume is done: each of its runs has been sent up to the seq that stands here."""

    id: str | None
    places: dict[str, int]


class Position(msgspec.Struct, frozen=True, array_like=True):
    """How far a client is in a run: what it has been sent, and what it has acked; None: it does not ack."""

    sent: int
    acked: int | None


class _Place(Place, eq=False, kw_only=True):
    """Where a socket is in one run; `held` are live frames that follow each other, the first with seq `held_from`."""

    head: int
    held: deque[str] | None = None
    held_from: int = 0
    cause: Cause = "gap"


class _Resume(msgspec.Struct, eq=False):
    id: str | None
    targets: dict[str, int]


class DeliverySession:
    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._settled: dict[str, int] = {}
        self._ready: dict[str, None] = {}
        self._resumes: list[_Resume] = []
        self._gaps: list[Gap] = []
        self._held_characters = 0
        self._held_events = 0
        self._is_reading = True
        self._window = Window()
        self._moved: set[str] = set()

    def begin(self, heads: Mapping[str, int]) -> None:
        """Sets the places of runs that exist when the socket connects: it is sent only what comes after."""
        for run_id, head in heads.items():
            self._places[run_id] = _Place(sent=head, acked=head, head=head)

    def receive(self, run_id: str, first_seq: int, texts: Sequence[str]) -> None:
        """Takes in a batch that was published live; duplicates and gaps are no matter."""
        place = self._place_of(run_id)
        place.head = max(place.head, first_seq + len(texts) - 1)
        next_seq = place.held_from + len(place.held) if place.held else max(first_seq, place.sent + 1)
        fresh = texts[max(0, next_seq - first_seq) :]
        if fresh and first_seq <= next_seq and self._has_room():
            if not place.held:
                place.held_from = next_seq
            self._hold(place, fresh)
        elif fresh and not self._has_room():
            place.cause = "overflow"
        self._touch(run_id, place)

    def learn_heads(self, heads: Mapping[str, int]) -> None:
        """Takes in what the log's heads are, so that a loss is found in silence too."""
        for run_id, head in heads.items():
            place = self._place_of(run_id)
            place.head = max(place.head, head)
            self._touch(run_id, place)

    def resume(self, id_: str | None, cursors: Mapping[str, int], heads: Mapping[str, int]) -> None:
        """Sets places to the client's cursors (0 to head); all that follows them is sent in order, then CaughtUp."""
        self._resumes.append(_Resume(id_, {run_id: heads[run_id] for run_id in cursors}))
        for run_id, cursor in cursors.items():
            place = self._place_of(run_id)
            self._moved.add(run_id)
            self._set_back(place, cursor)
            place.head = max(place.head, heads[run_id])
            place.cause = "resume" if place.head > cursor else "gap"
            self._touch(run_id, place)

    def ack(self, cursors: Mapping[str, int]) -> None:
        """Notes what the client has; the first ack turns flow control on."""
        self._window.is_on = True
        for run_id, cursor in cursors.items():
            place = self._places.get(run_id)
            if place is not None and self._window.ack(place, cursor):
                self._moved.add(run_id)

    def set_reading(self, *, is_reading: bool) -> None:
        """Notes whether the client takes what is sent. While it does not, nothing is kept for it: the log has it."""
        if self._is_reading and not is_reading:
            for place in self._places.values():
                place.cause = "overflow" if place.held else place.cause
                self._drop_held(place)
        self._is_reading = is_reading

    @property
    def is_blocked(self) -> bool:
        """Whether the client must ack before anything more is sent."""
        return self._window.is_full

    def take_moved(self) -> dict[str, Position]:
        """Where the client is in those runs in which it has got on since this was asked last."""
        if not self._moved:
            return {}
        moved, self._moved = self._moved, set()
        places = {run_id: self._places[run_id] for run_id in moved if run_id in self._places}
        return {run_id: Position(at.sent, at.acked if self._window.is_on else None) for run_id, at in places.items()}

    def next(self) -> Send | Fetch | Gap | CaughtUp | None:
        """What to do now; None: nothing, until something is taken in."""
        if self._gaps:
            return self._gaps.pop(0)
        if (done := self._finished_resume()) is not None:
            return done
        if self.is_blocked or not self._ready:
            return None
        run_id = next(iter(self._ready))
        place = self._places[run_id]
        del self._ready[run_id]
        if place.held and place.held_from <= place.sent + 1:
            texts = self._take_held(run_id, place)
            self._touch(run_id, place)
            return Send(texts)
        hole = place.held_from - place.sent - 1 if place.held else place.head - place.sent
        self._ready[run_id] = None
        return Fetch(run_id, place.sent, max(1, min(hole, self._window.events_left(FETCH_EVENTS))), place.cause)

    def fetched(self, run_id: str, after: int, rows: Sequence[tuple[int, str]]) -> Send:
        """Takes in what the log holds after a place, and returns what of it is to be sent."""
        place = self._places[run_id]
        if place.sent != after:  # a resume has moved the place meanwhile
            return Send([])
        if rows and rows[0][0] > after + 1:
            self._skip(run_id, place, rows[0][0] - 1)
            return Send([])
        texts = self._following(after, rows)
        if not texts:  # the log does not have it (yet): ask no more until somebody says that it does
            place.head = place.sent
            self._drop_held(place)
        self._count_sent(run_id, place, texts)
        while place.held and place.held_from <= place.sent:
            self._drop_first(place)
        if place.sent >= place.head:
            place.cause = "gap"
        self._ready.pop(run_id, None)
        self._touch(run_id, place)
        return Send(texts)

    def _skip(self, run_id: str, place: _Place, missed_to: int) -> None:
        """The log was pruned up to there."""
        self._gaps.append(Gap(run_id, place.sent + 1, missed_to))
        self._moved.add(run_id)
        self._window.skip(place, missed_to)

    def _following(self, after: int, rows: Sequence[tuple[int, str]]) -> list[str]:
        """The rows that follow `after` without a hole, as many as the client's window takes."""
        texts: list[str] = []
        left = self._window.bytes_left
        for expected, (seq, text) in enumerate(rows, after + 1):
            if seq != expected or left <= 0:
                break
            left -= len(text)
            texts.append(text)
        return texts

    def _place_of(self, run_id: str) -> _Place:
        place = self._places.get(run_id)
        if place is None:
            if len(self._places) >= KNOWN_RUNS:
                self._settle_oldest()
            sent = self._settled.pop(run_id, 0)
            place = self._places[run_id] = _Place(sent=sent, acked=sent, head=sent)
        return place

    def _settle_oldest(self) -> None:
        """Keeps no more than the place of runs that have nothing to be sent."""
        busy = set(self._ready).union(*(resume.targets for resume in self._resumes))
        for run_id in [run_id for run_id in self._places if run_id not in busy][: KNOWN_RUNS // 2]:
            place = self._places.pop(run_id)
            self._window.forget(place)
            self._settled[run_id] = place.sent
        for run_id in list(self._settled)[: max(0, len(self._settled) - SETTLED_RUNS)]:
            del self._settled[run_id]

    def _touch(self, run_id: str, place: _Place) -> None:
        if place.head > place.sent:
            self._ready[run_id] = None

    def _has_room(self) -> bool:
        return self._is_reading and self._held_events < HELD_EVENTS and self._held_characters < HELD_CHARACTERS

    def _hold(self, place: _Place, texts: Sequence[str]) -> None:
        """As many as there is room for; a batch can be a megabyte."""
        place.held = place.held or deque()
        for text in texts:
            if not self._has_room():
                break
            place.held.append(text)
            self._held_events += 1
            self._held_characters += len(text)

    def _drop_first(self, place: _Place) -> str:
        assert place.held is not None
        text = place.held.popleft()
        place.held_from += 1
        self._held_events -= 1
        self._held_characters -= len(text)
        place.held = place.held or None
        return text

    def _drop_held(self, place: _Place) -> None:
        while place.held:
            self._drop_first(place)

    def _take_held(self, run_id: str, place: _Place) -> list[str]:
        while place.held and place.held_from <= place.sent:
            self._drop_first(place)
        texts: list[str] = []
        room, left = self._window.events_left(SEND_EVENTS), min(SEND_CHARACTERS, self._window.bytes_left)
        while place.held and len(texts) < room and left > 0:
            texts.append(self._drop_first(place))
            left -= len(texts[-1])
        self._count_sent(run_id, place, texts)
        return texts

    def _count_sent(self, run_id: str, place: _Place, texts: Sequence[str]) -> None:
        if texts:
            self._moved.add(run_id)
        self._window.send(place, texts)

    def _set_back(self, place: _Place, cursor: int) -> None:
        self._window.forget(place)
        place.sent = place.acked = cursor

    def _finished_resume(self) -> CaughtUp | None:
        for resume in self._resumes:
            places = {run_id: self._places[run_id].sent for run_id in resume.targets}
            if all(places[run_id] >= target for run_id, target in resume.targets.items()):
                self._resumes.remove(resume)
                return CaughtUp(resume.id, places)
        return None
