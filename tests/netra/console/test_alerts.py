"""The command for cron, and the webhook, called for real: a server of the tests takes what is sent."""

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.database import in_database
from agents.models import AgentExecution
from netra.console.alerts import Alerts, Rule, find_alert, note_told, rule_of_settings
from netra.console.overdue import read_overdue
from notifications.models import AlertState
from tests.netra.console.test_run_list import make_ended, make_held, make_run
from tests.runs import until

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "sixteen characters or more"
OFTEN = 0.02


class Pager:
    """Takes alerts; answers with `answers` one after the other, then with 204."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, Any], str, bytes]] = []
        self.answers: list[int] = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = pager.answers.pop(0) if pager.answers else 204
                pager.taken.append((json.loads(body), self.headers["Netra-Signature"], body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/page/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def states(self) -> list[str]:
        return [alert["state"] for alert, _, _ in self.taken]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def pager() -> Iterator[Pager]:
    made = Pager()
    yield made
    made.close()


@pytest.fixture
def rule(pager: Pager) -> Rule:
    return Rule(url=pager.url, secret=SECRET, older_than=60, most=1, only_frozen=False)


@pytest.fixture
async def watch(transactional_db: None, rule: Rule) -> AsyncIterator[Any]:
    made: list[Alerts] = []

    def watch(**changes: Any) -> Alerts:
        made.append(Alerts(rule, every=OFTEN, pauses=(OFTEN, OFTEN)))
        made[-1].start()
        return made[-1]

    yield watch
    for alerts in made:
        if alerts._duty is not None and not alerts._duty.done():
            await alerts.stop()


def now() -> datetime:
    return datetime.now(UTC)


async def make_old(count: int) -> None:
    for _ in range(count):
        await in_database(make_held, age=100)


def end_all() -> None:
    AgentExecution.objects.live().update(
        status="failed", phase="failed", completed_at=now(), last_seq=1, completed_seq=1
    )


async def test_the_webhook_is_called_when_there_are_too_many_and_when_that_is_over(watch, pager):
    await make_old(1)
    watch()
    await asyncio.sleep(5 * OFTEN)
    assert pager.taken == []

    await make_old(1)
    await until(lambda: pager.taken)
    await asyncio.sleep(5 * OFTEN)
    await in_database(end_all)
    await until(lambda: len(pager.taken) > 1)
    await asyncio.sleep(5 * OFTEN)

    (firing, *_), (resolved, *_) = pager.taken
    assert (firing["state"], firing["count"], firing["limit"], firing["reasons"]) == ("firing", 2, 1, {"moving": 2})
    assert len(firing["runs"]) == 2
    assert (resolved["state"], resolved["count"]) == ("resolved", 0)
    assert firing["alert_id"] == resolved["alert_id"]


async def test_what_is_sent_is_signed_with_its_time(watch, pager):
    await make_old(2)
    watch()
    await until(lambda: pager.taken)

    [(_, signature, body)] = pager.taken
    at, digest = (part.partition("=")[2] for part in signature.split(","))
    assert digest == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert abs(int(at) - now().timestamp()) < 60


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_was_not_taken_is_sent_again_and_nowhere_else(watch, pager, status):
    pager.answers = [status] * 5  # more than the tries of one check
    await make_old(2)
    watch()
    await until(lambda: len(pager.taken) == 6)
    await asyncio.sleep(10 * OFTEN)

    assert pager.states == ["firing"] * 6


async def test_of_many_processes_one_calls_and_another_takes_over_when_it_is_gone(watch, pager):
    await make_old(2)
    first = watch()
    await until(lambda: pager.taken)
    watch()
    watch()
    await asyncio.sleep(10 * OFTEN)
    assert pager.states == ["firing"]

    await first.stop()
    await in_database(end_all)
    await asyncio.sleep(10 * OFTEN)
    assert pager.states == ["firing"]  # its minute is not over

    await in_database(AlertState.objects.update, held_until=now())
    await until(lambda: len(pager.taken) == 2)
    assert pager.states == ["firing", "resolved"]


def test_who_is_not_the_one_to_tell_looks_at_nothing(rule, django_assert_num_queries):
    assert find_alert(rule, "a", now()) is None

    with django_assert_num_queries(2):
        assert find_alert(rule, "b", now()) is None


def test_an_alert_that_was_not_told_is_found_again(rule):
    for _ in range(2):
        make_held(age=100)
    alert = find_alert(rule, "a", now())
    assert alert is not None
    assert find_alert(rule, "a", now()) is not None

    note_told(alert)
    assert find_alert(rule, "a", now()) is None


def test_without_an_address_nobody_is_called(settings):
    assert rule_of_settings() is None

    settings.NETRA_ALERT_URL = "https://pager.example/"
    assert rule_of_settings() is not None


def test_overdue_are_old_runs_that_lack_agent_completed(django_assert_num_queries):
    make_run(age=50)
    make_ended(age=500)
    with django_assert_num_queries(1):
        assert read_overdue(now(), older_than=60).count == 0

    make_held(age=100)
    make_held(30, age=200)
    with django_assert_num_queries(3):
        overdue = read_overdue(now(), older_than=60)
    assert overdue.count == 2
    stuck, moving = [run.why for run in overdue.runs]
    assert stuck.startswith("no progress for 30 s in thinking;")
    assert moving.startswith("thinking, moved ")
    assert read_overdue(now(), older_than=60, only_frozen=True).count == 1


def check_runs(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("check_runs", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def test_the_command_is_silent_when_all_is_well():
    make_held()
    make_ended(age=500)

    assert check_runs() == (0, "")
    assert check_runs("--verbosity", "2") == (0, "0 lack agent_completed for more than 60 s.\n")


def test_the_command_tells_who_waits_and_why():
    run = make_held(30, age=100)

    code, said = check_runs("--older-than", "60")

    assert code == 1
    expected = f"{run.run_id}  test  100 s old: no progress for 30 s in thinking; worker worker_1 has it\n"
    assert said == f"{expected}1 run lacks agent_completed for more than 60 s."
    assert check_runs("--max", "1") == (0, "")
    assert check_runs("--older-than", "300") == (0, "")
    assert check_runs("--older-than", "20", "--only-frozen")[0] == 1


def test_the_command_tells_of_some_and_counts_all():
    for _ in range(23):
        make_held(age=100)

    _, said = check_runs("--max", "2")

    assert said.count("run_") == 20
    assert said.endswith("… and 3 more\n23 runs lack agent_completed for more than 60 s.")


@pytest.mark.parametrize("argument", ["--older-than=-1", "--older-than=nan", "--older-than=1e300", "--max=-1"])
def test_the_command_refuses_what_makes_no_sense(argument):
    assert check_runs(argument)[0] == 2


@pytest.mark.slow
def test_a_database_that_is_away_has_a_code_of_its_own(python):
    done = python("manage.py", "check_runs", DATABASE_URL="postgres://nobody@127.0.0.1:1/none", SECRET_KEY="x" * 50)

    assert done.returncode == 2
    assert "The database cannot be asked" in done.stderr
