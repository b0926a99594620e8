"""RFC 6455, by Autobahn's cases: the servers fail where docs/conformance.md says so, and Netra adds nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import get_args

import pytest

from netra.testing.server import ROOT, RunningNetra, WebServer
from tests.conformance.suite import Case, Event, run_suite

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

IS_CI = os.environ.get("CI") == "true"
SERVERS: list[WebServer] = list(get_args(WebServer)) if IS_CI else ["daphne"]
CASES_OF_NETRA = ["*"] if IS_CI else ["2.*", "3.*", "4.*", "5.*", "7.*"]
"""Each echo that does not come costs the suite a second, and those that are left out await little else."""
AT_ONCE = 32
LISTED = re.compile(r"^\| (?P<case>[\d.]+) \| (?P<server>\w+) \| (?P<where>[^|]+) \|", re.MULTILINE)
FAILED = re.compile("handler failed|sender failed|Exception in")
"""Ours. uvicorn also writes a traceback for each text that is no UTF-8."""
DOCUMENT = (ROOT / "docs" / "conformance.md").read_text()
ANSWERS = {"invalid_json", "invalid_message", "message_too_large"}


class NetraAndEcho(RunningNetra):
    application = "tests.conformance.application:application"


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetraAndEcho]:
    server: WebServer = request.param
    folder = tmp_path_factory.mktemp("conformance")
    with NetraAndEcho(folder, server, NETRA_SOCKETS_PER_USER="1000", WEB_SERVER=server) as netra:
        yield netra


def listed(netra: NetraAndEcho, where: str) -> set[str]:
    server = netra.environment["WEB_SERVER"]
    return {row["case"] for row in LISTED.finditer(DOCUMENT) if row["server"] == server and where in row["where"]}


def failures(url: str, cases: list[str], is_good: Callable[[Case], bool], known: set[str]) -> set[str]:
    """The cases that fail; one that nobody knows of is run again by itself, since the suite waits by the clock."""
    failed = {case.id for case in run_suite(url, cases, at_once=AT_ONCE).values() if not is_good(case)}
    if unknown := sorted(failed - known):
        again = run_suite(url, unknown, at_once=1)
        failed -= {case.id for case in again.values() if is_good(case)}
    return failed


def is_answered_by_netra(case: Case) -> bool:
    """Netra says who it is, answers what is no message of its own with an error, and keeps the socket.

    Where a server may do well without a word, what is no message (pongs, time-outs) and the end are as they should be.
    """
    frames = [json.loads(event[1]) for event in case.received if event[0] == "message"]
    errors = [frame.get("code") for frame in frames[1:]]
    if (frames and frames[0]["type"] != "connection_established") or not ANSWERS.issuperset(errors):
        return False
    silent_ways = [way for way in case.expected.values() if not messages_of(way)]
    if silent_ways or case.is_informational:
        rest = [event for event in case.received if event[0] != "message"]
        return case.is_closed_well and (case.is_informational or rest in silent_ways)
    return len(errors) == len(messages_of(case.expected["OK"])) and case.close_code in {None, 1000}


def messages_of(events: list[Event]) -> list[Event]:
    return [event for event in events if event[0] == "message"]


def test_the_server_fails_where_it_is_listed_and_nowhere_else(served: NetraAndEcho):
    known = listed(served, "echo")

    assert failures(f"ws://127.0.0.1:{served.port}/echo", ["*"], lambda case: case.passed, known) == known


def test_netra_adds_no_failure(served: NetraAndEcho):
    known = listed(served, "/ws/")

    assert failures(f"{served.ws_url}?token={served.token}", CASES_OF_NETRA, is_answered_by_netra, known) == known
    log = served.log.read_text()
    assert not FAILED.search(log), log
