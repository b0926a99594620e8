"""What a client has of each run, and what follows from a frame: which events are new, which frames to send.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

Frame = dict[str, Any]
"""A JSON object as it is on the wire."""

GONE: Final = frozenset({"not_found", "invalid_cursor"})
"""Error codes after which a run can't be followed from here any more."""
TERMINAL: Final = frozenset({"completed", "failed", "timed_out", "cancelled", "lost"})


def is_event(frame: Frame) -> bool:
    """Also for types that this client has never heard of: they count."""
    return isinstance(frame.get("seq"), int) and isinstance(frame.get("run_id"), str)


def is_last(frame: Frame) -> bool:
    """Whether nothing follows this frame in its run."""
    if frame["type"] == "agent_completed":
        return True
    snapshot = frame.get("snapshot") or {}
    ended = frame["type"] == "gap" and snapshot.get("status") in TERMINAL
    return ended and snapshot.get("last_seq", 0) <= frame["missed_to"]


def reaches(frame: Frame) -> int:
    """The cursor of whoever has taken this event or gap."""
    reached: int = frame["missed_to"] if frame["type"] == "gap" else frame["seq"]
    return reached


class Place(msgspec.Struct, eq=False):
    cursor: int = 0
    head: int = 0
    ended: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What came of a frame: new events (and gaps), and frames to send; both in order."""

    events: list[Frame] = []
    send: list[Frame] = []


NOTHING: Final = Outcome()


class Cursors:
    def __init__(self) -> None:
        self._runs: dict[str, Place] = {}
        self._resumes: dict[str, set[str]] = {}
        self._put_off: dict[str, None] = {}
        """Runs whose resume the server could not answer: asked for again with the next head."""
        self._resume_count = 0
        self._unacknowledged: dict[str, None] = {}
        self.received = 0
        """Events that came in since the last acknowledgement."""

    @property
    def catching_up(self) -> bool:
        return bool(self._resumes or self._put_off)

    def place(self, run_id: str) -> Place | None:
        return self._runs.get(run_id)

    def receive(self, frame: Frame) -> Outcome:
        if is_event(frame):
            return self._event(frame)
        match frame.get("type"):
            case "connection_established":
                return Outcome(send=self._established(frame.get("runs", [])))
            case "head":
                return Outcome(send=self._heads(frame.get("runs", {})))
            case "run_accepted":
                return Outcome(send=self._accepted(frame))
            case "gap":
                return self._gap(frame)
            case "caught_up":
                self._resumes.pop(frame.get("id", ""), None)
            case "error":
                self._error(frame)
            case _:
                pass
        return NOTHING

    def resume(self, run_ids: Iterable[str]) -> list[Frame]:
        """A resume for these runs, each from its cursor; none for those that are being resumed already."""
        under_way = {run_id for runs in self._resumes.values() for run_id in runs}
        wanted = {run_id: self._know(run_id).cursor for run_id in run_ids if run_id not in under_way}
        return [self.resume_from(wanted)] if wanted else []

    def resume_from(self, cursors: Mapping[str, int]) -> Frame:
        self._resume_count += 1
        id_ = f"resume_{self._resume_count}"
        self._resumes[id_] = set(cursors)
        return {"type": "resume", "id": id_, "cursors": dict(cursors)}

    def acknowledge(self) -> list[Frame]:
        """What to acknowledge now."""
        cursors = {run_id: self._know(run_id).cursor for run_id in self._unacknowledged}
        self._unacknowledged.clear()
        self.received = 0
        return [{"type": "ack", "cursors": cursors}] if cursors else []

    def _event(self, event: Frame) -> Outcome:
        run_id, seq = event["run_id"], event["seq"]
        place = self._know(run_id, seq)
        self._unacknowledged[run_id] = None
        self.received += 1
        if seq <= place.cursor:
            return NOTHING
        if seq > place.cursor + 1:
            return Outcome(send=self.resume([run_id]))
        place.cursor, place.ended = seq, is_last(event)
        return Outcome(events=[event])

    def _gap(self, gap: Frame) -> Outcome:
        place = self._know(gap["run_id"], gap["missed_to"])
        self._unacknowledged[gap["run_id"]] = None
        if gap["missed_to"] <= place.cursor:
            return NOTHING
        place.cursor, place.ended = gap["missed_to"], is_last(gap)
        return Outcome(events=[gap])

    def _established(self, live: list[Frame]) -> list[Frame]:
        """A new connection: what is live but not here, and what was live when the last one went."""
        self._resumes.clear()
        self._put_off.clear()
        self._unacknowledged.clear()
        self.received = 0
        for run in live:
            self._know(run["run_id"], run["last_seq"])
        listed = {run["run_id"] for run in live}
        return self.resume(
            run_id
            for run_id, place in list(self._runs.items())
            if not place.ended and (place.head > place.cursor or run_id not in listed)
        )

    def _heads(self, heads: Mapping[str, int]) -> list[Frame]:
        lacking = [run_id for run_id, head in heads.items() if head > self._know(run_id, head).cursor]
        put_off, self._put_off = self._put_off, {}
        return self.resume([*lacking, *put_off])

    def _accepted(self, frame: Frame) -> list[Frame]:
        """A duplicate may have run, or even ended, while nobody here was listening."""
        is_new = frame["run_id"] not in self._runs
        self._know(frame["run_id"])
        return self.resume([frame["run_id"]]) if is_new and frame.get("duplicate") else []

    def _error(self, error: Frame) -> None:
        run_id = error.get("run_id")
        if run_id and error.get("code") in GONE:
            self._runs.pop(run_id, None)
            self._unacknowledged.pop(run_id, None)
        elif not run_id and not error.get("request_id"):
            for runs in self._resumes.values():  # it may have answered any of them
                self._put_off |= dict.fromkeys(runs)
            self._resumes.clear()

    def _know(self, run_id: str, head: int = 0) -> Place:
        place = self._runs.setdefault(run_id, Place())
        place.head = max(place.head, head)
        return place
