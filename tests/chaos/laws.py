"""What must hold after a chaos run, whatever happened in it. Each law yields a sentence for each time it was broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from netra.testing.laws import require_lawful, require_legal_phases, require_record_is_log, require_view_is_log
from tests.chaos.conductor import Outage, Record
from tests.chaos.plan import RETURNED, Job
from tests.chaos.witness import Witness

FATE_SECONDS: Final = 10.0
"""Counted from when the server is back; clients back off for up to 8 s of them."""
NEVER: Final = float("inf")
CLOCK_SECONDS: Final = 0.01
"""A run's time-out is told by the event loop's clock, its times by the machine's: these may be so far apart."""
MAX_ATTEMPTS: Final = 3
BUGS: Final = (
    "handler failed",
    "sender failed",
    "committed events not handed on",
    "database refused rows",
    "run was given up",
    "runner's duty failed",
    "agent returned no JSON",
    "never retrieved",
    "was destroyed but it is pending",
    "Exception in callback",
    "Unhandled",
)


class Fates(msgspec.Struct, kw_only=True):
    """Seconds until a client knew what became of a run that was executed when the server died."""

    since_death: list[float]
    since_return: list[float]
    since_connected: list[float]
    """Since the server was back and the client, which backs off for up to 8 s, was connected to it again."""
    late: list[str] = []
    measured: int = 0
    """In how many outages."""

    def add(self, outage: Outage, witness: Witness, run_id: str, known_at: float) -> None:
        seconds = known_at - outage.ready_at
        if seconds > FATE_SECONDS:
            self.late.append(f"{witness.name} knew the fate of {run_id} {seconds:.1f} s after the server was back")
        if known_at < NEVER:
            connected_at = [at for at in witness.connected_at if at <= known_at][-1]
            self.since_death.append(known_at - outage.at)
            self.since_return.append(max(0.0, seconds))
            self.since_connected.append(max(0.0, known_at - max(outage.ready_at, connected_at)))


def broken(record: Record) -> list[str]:
    found = list(record.problems)
    for law in LAWS:
        found += [f"{law.__name__}: {sentence}" for sentence in law(record)]
    return found


def every_request_made_one_run(record: Record) -> Iterator[str]:
    by_request = Counter(row["request_id"] for row in record.runs)
    ids = {row["request_id"]: row["run_id"] for row in record.runs}
    for job in record.plan.jobs:
        if by_request[job.request_id] != 1:
            yield f"{job.request_id} made {by_request[job.request_id]} runs"
        for answer in record.answers[job.request_id]:
            if answer.get("run_id") != ids.get(job.request_id):
                yield f"{job.request_id} was answered by {answer}, its run is {ids.get(job.request_id)}"


def log_is_lawful(record: Record) -> Iterator[str]:
    """Gapless, one agent_completed and that last, tool calls paired; and the record says the same."""
    for row in record.runs:
        events = record.logs[row["run_id"]]
        yield from _complaints(_name(row), require_lawful, events)
        yield from _complaints(_name(row), require_record_is_log, row, events)


def phases_are_legal(record: Record) -> Iterator[str]:
    for row in record.runs:
        steps, events = record.transitions[row["run_id"]], record.logs[row["run_id"]]
        if row["phase_count"] != len(steps) or row["phase"] != (steps[-1]["to_phase"] if steps else "created"):
            yield f"{_name(row)}: the record says {row['phase_count']} steps to {row['phase']}, the history not"
        yield from _complaints(_name(row), require_legal_phases, steps, events)


def outcome_has_a_cause(record: Record) -> Iterator[str]:
    jobs = {job.request_id: job for job in record.plan.jobs}
    for row in record.runs:
        if row["completed_at"] and (problem := _odd_outcome(record, row, jobs[row["request_id"]])):
            yield f"{_name(row)}: {problem}"


def _odd_outcome(record: Record, row: dict[str, Any], job: Job) -> str | None:
    data = record.logs[row["run_id"]][-1]["data"]
    outages = sum(_overlaps(outage, row) for outage in record.outages)
    lasted = _at(row, "completed_at") - _at(row, "created_at")
    output = data["result"]["output"]
    odd = {
        "completed": (job.fails or (job.returns and output != RETURNED), f"its script fails or returns not {output!r}"),
        "failed": (not job.fails, f"its script does not fail, but {data['error']}"),
        "cancelled": (row["cancel_requested_at"] is None, "nobody asked for it"),
        "lost": (not outages, "the server was there all the time"),
        "timed_out": (lasted < row["timeout"] - CLOCK_SECONDS, f"it had lasted {lasted:.1f} s of {row['timeout']:g} s"),
    }
    is_odd, problem = odd[row["status"]]
    if row["attempt"] > 1 + outages:
        return f"{row['attempt']} attempts, but only {outages} outages"
    return problem if is_odd else None


def few_attempts_are_made(record: Record) -> Iterator[str]:
    for row in record.runs:
        tries = [
            event["data"]["attempt"]
            for event in record.logs[row["run_id"]]
            if event["type"] in {"agent_started", "run_recovered"}
        ]
        if tries != sorted(set(tries)) or max(tries, default=0) - row["handovers"] > MAX_ATTEMPTS:
            yield f"{_name(row)}: its log tells of the attempts {tries}"


def client_view_is_the_log(record: Record) -> Iterator[str]:
    users = {row["run_id"]: row["username"] for row in record.runs}
    for witness in record.witnesses:
        for run_id, user in users.items():
            if user == witness.user:
                taken, log = witness.taken[run_id], record.logs[run_id]
                yield from _complaints(f"{witness.name}, {run_id}", require_view_is_log, taken, log)
        for frame in witness.frames:
            log = record.logs.get(frame["run_id"], [])
            if frame["seq"] > len(log) or log[frame["seq"] - 1] != frame:
                yield f"{witness.name}: {frame} is not what the log has"


def nobody_sees_another_users(record: Record) -> Iterator[str]:
    users = {row["run_id"]: row["username"] for row in record.runs}
    for witness in record.witnesses:
        seen = witness.heard_of | set(witness.taken)
        if foreign := [run_id for run_id in seen if users.get(run_id) != witness.user]:
            yield f"{witness.name} was told of {foreign}"
        if witness.user_ids != {record.user_ids[witness.user]}:
            yield f"{witness.name} was taken for {witness.user_ids}"


def sockets_were_served_well(record: Record) -> Iterator[str]:
    for witness in record.witnesses:
        for problem in witness.broken:
            yield f"{witness.name}: {problem}"


def who_is_there_hears_of_runs(record: Record) -> Iterator[str]:
    """Connected before a run ended, and two heads came after that: then the client must know of the run."""
    ended = {row["run_id"]: _at(row, "completed_at") for row in record.runs if row["completed_at"]}
    for witness, run_id in record.unheard:
        at = ended.get(run_id, float("inf"))
        for connection in witness.connections:
            later = [head for head in connection.heads_at if head > at]
            if connection.established_at < at and len(later) >= 2:
                yield f"{witness.name} never heard of {run_id}, which ended while it was connected"


def fates_are_known_soon(record: Record) -> Iterator[str]:
    fates = measure_fates(record)
    for sentence in fates.late:
        yield f"{sentence}, at most {FATE_SECONDS:g} s are allowed"
    if not fates.since_return:
        yield "nobody's knowledge of a fate could be measured"


def server_log_tells_of_no_bug(record: Record) -> Iterator[str]:
    for line in record.server_log.splitlines():
        if any(bug in line for bug in BUGS):
            yield line.strip()


LAWS: Final[tuple[Callable[[Record], Iterator[str]], ...]] = (
    every_request_made_one_run,
    log_is_lawful,
    phases_are_legal,
    outcome_has_a_cause,
    few_attempts_are_made,
    client_view_is_the_log,
    nobody_sees_another_users,
    sockets_were_served_well,
    who_is_there_hears_of_runs,
    fates_are_known_soon,
    server_log_tells_of_no_bug,
)


def measure_fates(record: Record) -> Fates:
    """Of each run that was executed when the server died and each client of its user that could hear of it, unless the
    chaos hit them again meanwhile."""
    fates = Fates(since_death=[], since_return=[], since_connected=[])
    users = {row["run_id"]: row["username"] for row in record.runs}
    for outage in record.outages:
        before = len(fates.since_return)
        for run_id, seq in outage.live.items():
            for witness in (witness for witness in record.witnesses if witness.user == users[run_id]):
                known_at = witness.first_seen.get((run_id, seq + 1), NEVER)
                has_heard = run_id in witness.heard_of and (witness, run_id) not in record.unheard
                if has_heard and not _is_disturbed(record, witness, outage, known_at):
                    fates.add(outage, witness, run_id, known_at)
        fates.measured += len(fates.since_return) > before
    return fates


def _complaints(whose: str, require: Callable[..., None], *about: Any) -> Iterator[str]:
    """The sentence with which a law of the test kit is broken, if it is."""
    try:
        require(*about)
    except AssertionError as error:
        yield f"{whose}: {error}"


def _is_disturbed(record: Record, witness: Witness, outage: Outage, known_at: float) -> bool:
    """Whether the chaos hit the server or this client again while the fate could still be known in time."""
    others = [other.at for other in record.outages if other is not outage]
    until = min(known_at, outage.ready_at + FATE_SECONDS)
    return any(outage.at < at <= until for at in [*others, *witness.hindered_at])


def _overlaps(outage: Outage, row: dict[str, Any]) -> bool:
    return outage.at_utc <= _at(row, "completed_at") and outage.ready_at_utc >= _at(row, "created_at")


def _at(row: dict[str, Any], column: str) -> float:
    at = row[column]  # of SQLite a text
    return (at if isinstance(at, datetime) else datetime.fromisoformat(at)).replace(tzinfo=UTC).timestamp()


def _name(row: dict[str, Any]) -> str:
    return f"{row['run_id']} ({row['request_id']}, {row['username']}, {row['status']}, attempt {row['attempt']})"
