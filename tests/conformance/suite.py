"""The suite for RFC 6455 against one address: Autobahn's cases, run by kosoku.

By hand: `python -m tests.conformance.suite ws://127.0.0.1:9001/ '6.*'`. It patches the interpreter that it runs in, so
tests have it in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from kosoku import FailureError, run_fuzzingclient

from netra.testing.server import ROOT

OTHER_MATTERS = ["9.*", "12.*", "13.*"]
"""Performance, and compression, which Netra does not offer."""
SUITE_SECONDS = 100

Event = list[Any]
"""A message (and whether it is binary), a ping, a pong or a time-out, and its payload."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case of the suite, run. `expected` are the ways in which a server may do well."""

    id: str
    passed: bool
    is_informational: bool
    is_closed_well: bool
    close_code: int | None
    expected: dict[str, list[Event]]
    received: list[Event]


def run_suite(url: str, cases: Sequence[str] = ("*",), *, at_once: int) -> dict[str, Case]:
    """Runs the cases (ids, `6.*`), so many at a time, and returns them by id."""
    command = [sys.executable, "-m", __name__, url, str(at_once), *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=SUITE_SECONDS, check=False)
    if done.returncode:
        raise AssertionError(f"the suite ended with {done.returncode}: {done.stderr.decode()}")
    return {case.id: case for case in msgspec.json.decode(done.stdout, type=list[Case])}


async def main(url: str, at_once: str = "1", *cases: str) -> None:
    try:
        results = await run_fuzzingclient(url, cases or None, OTHER_MATTERS, int(at_once))
    except FailureError as failure:
        results = failure.results  # of all cases
    run = [
        Case(
            id=result.case_id,
            passed=result.passed,
            is_informational=result.behavior.value == "INFORMATIONAL",
            is_closed_well=result.behavior_close.value in {"OK", "INFORMATIONAL"},
            close_code=result.remote_close_code,
            expected=result.expected,
            received=result.received,
        )
        for result in results
    ]
    sys.stdout.buffer.write(msgspec.json.encode(run))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.buffer.flush()
    os._exit(0)  # kosoku's threads outlive its work, and one that still calls Python while that ends aborts the process
