"""/healthz and /readyz of real servers, and `manage.py ready`."""

import asyncio
import http.client
import io
import json
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.management import CommandError, call_command

from agents.database import in_database
from netra.health import OK, Health
from netra.metrics import Metrics
from netra.operations import Operations
from netra.testing.server import RunningNetra

READY = {"status": "ok", "message": ""}
SERVES, FAILED = (200, "ok"), (503, "failed")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetra]:
    """A server that may be broken, for the tests of this file."""
    with RunningNetra(tmp_path_factory.mktemp("own"), NETRA_STOP_GRACE_SECONDS="20") as netra:
        yield netra


def ask(
    netra: RunningNetra, path: str, method: str = "GET", host: str = "10.1.2.3"
) -> tuple[int, bytes, dict[str, str]]:
    """Under a name that Django would refuse: what probes a container knows its address only."""
    with closing(http.client.HTTPConnection("127.0.0.1", netra.port, timeout=20)) as connection:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


def readiness(netra: RunningNetra) -> tuple[int, dict[str, Any]]:
    status, body, _ = ask(netra, "/readyz")
    return status, json.loads(body)


def until_status(netra: RunningNetra, wanted: tuple[int, str], seconds: float = 20.0) -> dict[str, Any]:
    """What /readyz says as soon as it answers so: a code, and the status in its report."""
    deadline = time.monotonic() + seconds
    while True:
        status, report = readiness(netra)
        if (status, report["status"]) == wanted:
            return report
        assert time.monotonic() < deadline, f"{status}: {report}"
        time.sleep(0.05)


@pytest.mark.e2e
def test_a_server_that_serves_says_so_under_any_name(netra):
    status, body, headers = ask(netra, "/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")

    report = until_status(netra, SERVES)  # a machine that is busy may be degraded for a moment
    names = {"server", "database", "clock", "threads", "channel_layer", "runner", "processes"}
    assert report["checks"] == dict.fromkeys(names, READY)


@pytest.mark.e2e
def test_the_paths_are_asked_by_get_and_head_only_and_others_are_djangos(netra):
    assert ask(netra, "/readyz", "HEAD")[:2] == (200, b"")
    assert ask(netra, "/healthz", "POST")[0] == 405
    assert ask(netra, "/healthz/")[0] == 400  # Django's answer to a host that is not allowed
    assert ask(netra, "/healthz/", host=f"127.0.0.1:{netra.port}")[0] == 404


@pytest.mark.e2e
@pytest.mark.slow
def test_a_database_that_lacks_tables_is_told_everywhere_and_the_same(own):
    database = Path(own.environment["NETRA_DATA_DIR"]) / "netra.sqlite3"

    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(database, timeout=20)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename("agents_agentexecution", "elsewhere")
    try:
        report = until_status(own, FAILED)
        assert report["status"] == report["checks"]["database"]["status"] == "failed"
        assert "manage.py migrate" in report["checks"]["database"]["message"]
        assert ask(own, "/healthz")[0] == 200
        require_refused(own)
        with pytest.raises(CommandError, match="not ready"):
            call_command("ready", url=own.url, stdout=(said := io.StringIO()))
        assert "database: failed. The database lacks tables: run `manage.py migrate`." in said.getvalue()
    finally:
        rename("elsewhere", "agents_agentexecution")
    log = own.log.read_text()
    assert "remedy='Run `manage.py migrate`" in log
    assert "Traceback" not in log
    until_status(own, SERVES)
    with own.connect() as chat:
        assert chat.established["type"] == "connection_established"


@pytest.mark.e2e
def test_a_server_that_stops_takes_no_more_sockets_and_serves_those_it_has(own):
    with own.connect() as chat:
        run_id = chat.start_run({"sleep": 60})["run_id"]
        chat.wait_for(run_id, "agent_started")
        own.signal(signal.SIGTERM)

        assert until_status(own, FAILED)["checks"]["server"]["message"] == "The server is stopping."
        assert ask(own, "/healthz")[0] == 200
        require_refused(own)
        chat.send(type="cancel_run", run_id=run_id)
        assert chat.finish(run_id)[-1]["data"]["status"] == "cancelled"
        assert chat.receive_all() == 1012
    own.wait()
    own.run_server()


def require_refused(netra: RunningNetra) -> None:
    with netra.connect() as chat:
        assert (chat.established["type"], chat.established["code"]) == ("error", "not_ready")
        assert chat.receive_all() == 1012


async def test_it_answers_while_every_thread_hangs():
    gate = threading.Event()
    hanging = [asyncio.ensure_future(in_database(gate.wait)) for _ in range(20)]
    hanging += [asyncio.ensure_future(asyncio.to_thread(gate.wait)) for _ in range(50)]
    health = Health([])
    health.start()
    operations = Operations(health, Metrics(), metrics_token="")
    try:
        await health.is_ready()
        assert [await status_of(operations, path) for path in ("/healthz", "/readyz")] == [200, 200]
        assert health.report.checks == {"server": OK}
    finally:
        gate.set()
        health.stop()
        await asyncio.gather(*hanging)


async def status_of(operations: Operations, path: str) -> int:
    asked = ApplicationCommunicator(operations, {"type": "http", "method": "GET", "path": path, "headers": []})
    status: int = (await asked.receive_output(5))["status"]
    await asked.wait(5)
    return status


@pytest.mark.e2e
def test_the_command_says_what_the_server_says(netra):
    call_command("ready", url=f"{netra.url}/", stdout=(said := io.StringIO()))

    assert said.getvalue().splitlines() == [
        "server: ok.",
        "database: ok.",
        "clock: ok.",
        "threads: ok.",
        "channel_layer: ok.",
        "runner: ok.",
        "processes: ok.",
    ]
    assert netra.manage("ready").splitlines() == said.getvalue().splitlines()


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://127.0.0.1:1", "Is the server running"), ("file:///etc", "http://"), ("http://[", "no address")],
)
def test_the_command_says_why_it_cannot_ask(url, said):
    with pytest.raises(CommandError, match=said):
        call_command("ready", url=url)


@pytest.mark.e2e
def test_the_command_tells_another_server_from_netra(netra):
    with pytest.raises(CommandError, match="not Netra"):
        call_command("ready", url=f"{netra.url}/accounts/login")
