"""All that one client of a chaos run saw, and whether the server kept its duties towards this client's sockets."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

Frame = dict[str, Any]

ALLOWED_ERRORS: Final = frozenset({"not_ready"})
ALLOWED_CLOSES: Final = frozenset({1000, 1001, 1006, 1012})


class Connection(msgspec.Struct, eq=False):
    """`established_at` is the server's time, `heads_at` when heads came in; both in seconds since 1970."""

    established_at: float
    heads_at: list[float]


class Wire:
    """The server's duties on one socket: each run's events in order and each once, but for what a resume asked for."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._came: set[str] = set()
        self._resumes: dict[str, dict[str, int]] = {}

    def sent(self, frame: Frame) -> None:
        if frame["type"] == "resume":
            self._resumes[frame["id"]] = dict(frame["cursors"])

    def received(self, frame: Frame) -> str | None:
        """What is wrong with it, if anything is."""
        match frame["type"]:
            case "connection_established":
                self._places = {run["run_id"]: run["last_seq"] for run in frame["runs"]}
            case "run_accepted" if not frame["duplicate"] and frame["run_id"] in self._came:
                return f"events of {frame['run_id']} came before its run_accepted"
            case "caught_up":
                return self._caught_up(frame)
            case _ if "seq" in frame:
                return self._event(frame["run_id"], frame["seq"])
            case _:
                pass
        return None

    def _event(self, run_id: str, seq: int) -> str | None:
        place = self._places.get(run_id, 0)
        self._places[run_id] = seq
        self._came.add(run_id)
        if seq == place + 1:
            return None
        for cursors in self._resumes.values():
            if cursors.get(run_id) == seq - 1:
                del cursors[run_id]
                return None
        return f"{run_id}: after {place} came {seq}, and no resume asked for it"

    def _caught_up(self, frame: Frame) -> str | None:
        cursors = self._resumes.pop(frame["id"], None)
        if cursors is None:
            return f"caught_up for {frame['id']}, which was not sent"
        for run_id, reached in frame["runs"].items():
            if reached not in {self._places.get(run_id), cursors.get(run_id)}:
                return f"{run_id}: caught_up says {reached}, but {self._places.get(run_id)} came last"
            self._places[run_id] = reached
        return None


class Witness:
    """`taken`: what the client took of each run. `frames`: all events as they came, with the same ones again."""

    def __init__(self, name: str, user: str) -> None:
        self.name = name
        self.user = user
        self.taken: dict[str, list[Frame]] = defaultdict(list)
        self.frames: list[Frame] = []
        self.first_seen: dict[tuple[str, int], float] = {}
        self.heard_of: set[str] = set()
        self.user_ids: set[str] = set()
        self.errors: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()
        self.connections: list[Connection] = []
        self.connected_at: list[float] = []
        self.hindered_at: list[float] = []
        """When the chaos itself cut this client off."""
        self.broken: list[str] = []
        self._wire = Wire()

    def connected(self) -> None:
        self.connected_at.append(time.monotonic())
        self._wire = Wire()

    def sent(self, frame: Frame) -> None:
        self._wire.sent(frame)

    def saw(self, frame: Frame) -> None:
        if problem := self._wire.received(frame):
            self.broken.append(problem)
        match frame["type"]:
            case "connection_established":
                at = datetime.fromisoformat(frame["server_time"]).timestamp()
                self.connections.append(Connection(at, []))
                self.user_ids.add(frame["user_id"])
                self.heard_of |= {run["run_id"] for run in frame["runs"]}
            case "head":
                self.connections[-1].heads_at.append(time.time())
                self.heard_of |= set(frame["runs"])
            case "error":
                self._note_error(frame)
            case "gap":
                self.broken.append(f"a gap, though nothing was pruned: {frame}")
            case _ if "run_id" in frame and frame["type"] != "cancel_accepted":  # there the client itself named the run
                self.heard_of.add(frame["run_id"])
            case _:
                pass
        if "seq" in frame:
            self.frames.append(frame)
            self.first_seen.setdefault((frame["run_id"], frame["seq"]), time.monotonic())

    def took(self, events: Iterable[Frame]) -> None:
        for event in events:
            self.taken[event["run_id"]].append(event)

    def closed(self, code: int | None) -> None:
        self.closes[code or 1006] += 1
        if code is not None and code not in ALLOWED_CLOSES:
            self.broken.append(f"closed with {code}")

    def hinder(self) -> None:
        self.hindered_at.append(time.monotonic())

    def has_all_of(self, run_ids: Iterable[str]) -> bool:
        return all(self.taken[run_id] and self.taken[run_id][-1]["type"] == "agent_completed" for run_id in run_ids)

    def _note_error(self, error: Frame) -> None:
        self.errors[error["code"]] += 1
        if error["code"] not in ALLOWED_ERRORS:
            self.broken.append(f"an error frame: {error}")
