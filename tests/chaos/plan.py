"""What a chaos run does, drawn from one seed: how much, which scripts, and which faults when."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Runs are started and faults happen within `seconds`; then all has `settle` seconds to come to its end."""

    users: int
    runs: int
    seconds: float
    settle: float
    lease: float


FULL: Final = Size(users=50, runs=200, seconds=85.0, settle=55.0, lease=6.0)
SHORT: Final = Size(users=8, runs=24, seconds=7.0, settle=80.0, lease=2.0)

LAST_KILL: Final = 0.95
"""When the last fault comes, as a share of the time that runs are started and faults happen in."""
RETURNED: Final = "returned"
ANSWER: Final = "The answer, as it was asked for."


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A run to be asked for, `at` seconds after the beginning; `fails` if its own script makes it fail."""

    request_id: str
    user: str
    at: float
    params: dict[str, Any]
    timeout: float | None
    fails: bool
    returns: bool
    on_busy: str | None
    """Set: in the thread of the user's previous run."""
    ask_twice: bool
    cancel_after: float | None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds`: how long the server, or the clients, stay away or still. `share`: of the clients."""

    kind: str
    at: float
    seconds: float
    share: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    size: Size
    users: list[str]
    jobs: list[Job]
    faults: list[Fault]


def draw(seed: int, size: Size) -> Plan:
    chance = random.Random(seed)
    users = [f"user{number}" for number in range(1, size.users + 1)]
    jobs = [_job(chance, number, users, size) for number in range(size.runs - 1)]
    jobs.append(_last_job(size.runs - 1, users, size))
    return Plan(seed=seed, size=size, users=users, jobs=sorted(jobs, key=_time_of), faults=_faults(chance, size))


def _last_job(number: int, users: list[str], size: Size) -> Job:
    """One that is surely at work when the server is killed for the last time."""
    return Job(
        request_id=f"chaos-{number}",
        user=users[number % len(users)],
        at=size.seconds * LAST_KILL - 1.0,
        params={"script": [{"sleep": 10.0}, {"return": RETURNED}], "restartable": False},
        timeout=None,
        fails=False,
        returns=True,
        on_busy=None,
        ask_twice=False,
        cancel_after=None,
    )


def _time_of(job: Job) -> float:
    return job.at


def _job(chance: random.Random, number: int, users: list[str], size: Size) -> Job:
    ending = chance.choices(["return", "nothing", "raise", "tool"], [70, 10, 10, 10])[0]
    last: dict[str, list[dict[str, Any]]] = {
        "return": [{"return": RETURNED}],
        "nothing": [],
        "raise": [{"raise": "as the script says"}],
        "tool": [{"tool": "fail"}],
    }
    steps = [_step(chance) for _ in range(chance.randint(1, 6))]
    return Job(
        request_id=f"chaos-{number}",
        user=users[number % len(users)],
        at=chance.uniform(0, size.seconds * 0.9),
        params={"script": [*steps, *last[ending]], "restartable": chance.random() < 0.5},
        timeout=chance.choice([0.5, 2.0, 5.0]) if chance.random() < 0.08 else None,
        fails=ending in {"raise", "tool"},
        returns=ending == "return",
        on_busy=chance.choice(["enqueue", "enqueue", "interrupt"]) if chance.random() < 0.3 else None,
        ask_twice=chance.random() < 0.15,
        cancel_after=chance.uniform(0, 3) if chance.random() < 0.12 else None,
    )


def _step(chance: random.Random) -> dict[str, Any]:
    kind = chance.choices(
        ["think", "echo", "nap", "fail", "parallel", "stream", "emit", "sleep", "block"],
        [15, 10, 15, 8, 15, 12, 18, 10, 2],
    )[0]
    match kind:
        case "parallel":
            return {"parallel": [_part(chance) for _ in range(chance.randint(2, 5))]}
        case "emit":
            rate = chance.choice([5, 20, 50, 200, None])
            return {"emit": chance.randint(5, 60), "rate": rate, "bytes": chance.choice([0, 0, 100, 4000])}
        case "block":
            return {"block": chance.uniform(0.05, 0.5)}
        case _:
            return _part(chance, kind)


def _part(chance: random.Random, kind: str | None = None) -> dict[str, Any]:
    match kind or chance.choice(["think", "echo", "nap", "fail", "stream", "sleep"]):
        case "think":
            return {"think": "What comes next?"}
        case "echo":
            return {"tool": "echo", "arguments": {"text": "x" * chance.choice([1, 50, 5000])}}
        case "nap":
            return {"tool": "sleep", "arguments": {"seconds": round(chance.uniform(0, 3), 3)}}
        case "fail":
            return {"tool": "fail", "catch": True}
        case "stream":
            return {"stream": ANSWER * chance.randint(1, 30), "chunks": chance.randint(1, 60)}
        case _:
            return {"sleep": round(chance.uniform(0, 1.5), 3)}


def _faults(chance: random.Random, size: Size) -> list[Fault]:
    """Those that a chaos run must have are always there; those of the server follow each other.

    The last is a kill, with quiet after it: what becomes of the runs then is measured undisturbed.
    """
    more = {"kill": 22, "terminate": 6, "give up": 5, "freeze": 12, "drop": 30, "away": 25}
    kinds = ["kill", "drop", "freeze", "terminate"]
    while len(kinds) < size.seconds / 3:
        kinds += chance.choices(list(more), list(more.values()))
    chance.shuffle(kinds)
    times = sorted(chance.uniform(size.seconds * 0.05, size.seconds * (LAST_KILL - 0.05)) for _ in kinds)
    drawn = [_fault(chance, kind, at, size) for kind, at in zip(kinds, times, strict=True)]
    return [*drawn, _fault(chance, "kill", size.seconds * LAST_KILL, size)]


def _fault(chance: random.Random, kind: str, at: float, size: Size) -> Fault:
    match kind:
        case "freeze":
            return Fault(kind=kind, at=at, seconds=chance.choice([0.3, 0.5, 1.3]) * size.lease)
        case "kill" | "terminate" | "give up":  # asked to end, and killed before it has
            return Fault(kind=kind, at=at, seconds=chance.choice([0.0, 0.0, 0.5, 1.5]))
        case _:
            return Fault(kind=kind, at=at, seconds=chance.uniform(0.2, 4.0), share=chance.choice([0.1, 0.3, 1.0]))
