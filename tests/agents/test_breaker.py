import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from structlog.testing import capture_logs

from agents import breaker as module
from agents.breaker import LOOKED_BACK, PROBE_SECONDS, Breaker, problems, require_available
from agents.errors import AgentUnavailable
from agents.models import AgentExecution
from agents.registration import Terms, register
from agents.runs import RunRequest
from tests.runs import make_terms, make_user, read_run, register_run

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
BREAKER = Breaker(failures=3, window=60, cooldown=30)
WHOLE_TIMES = {"free": 40.0, "mid": 60.0}
FAULTS = ["internal", "cancelled_itself", "invalid_result", "tool_failed", "timed_out", "no_progress"]
TELL_NOTHING = ["cancelled", "lost", "user_inactive", "unknown_agent"]
_numbers = itertools.count(1)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def begin(at: float, *, agent: str = "test", owner: str = "worker_1", user_id: int | None = None) -> AgentExecution:
    """A live run that was started so many seconds after START."""
    run = read_run(register_run(user_id or make_user(), agent).run_id)
    AgentExecution.objects.filter(pk=run.pk).update(created_at=after(at), owner=owner)
    return run


def end(
    code: str, at: float, *, agent: str = "test", run: AgentExecution | None = None, timeout: float = 40.0
) -> AgentExecution:
    """A run that has ended like this; the earlier it is made, the smaller its key."""
    run = run or begin(at - 1, agent=agent)
    status = {"": "completed", "timed_out": "timed_out", "cancelled": "cancelled", "lost": "lost"}.get(code, "failed")
    AgentExecution.objects.filter(pk=run.pk).update(
        status=status, phase=status, completed_at=after(at), completed_seq=0, error_code=code, timeout=timeout
    )
    return run


def wait_at(seconds: float, breaker: Breaker = BREAKER, agent: str = "test") -> float | None:
    """The time to try again with which a run is refused at that time; None: it is let through."""
    try:
        require_available(agent, breaker=breaker, whole_times=WHOLE_TIMES, now=after(seconds))
    except AgentUnavailable as error:
        return error.retry_after
    return None


def trip(at: float = 2, agent: str = "test") -> None:
    """The circuit opens at that time."""
    for second in (at - 2, at - 1, at):
        end("internal", second, agent=agent)


def test_an_agent_without_runs_is_available():
    assert wait_at(0) is None


def test_the_last_of_so_many_failures_in_a_row_opens_the_circuit():
    for second in range(3):
        assert wait_at(second) is None
        end("internal", second)

    assert wait_at(2) == 30


@pytest.mark.parametrize("code", FAULTS)
def test_an_agent_that_breaks_or_hangs_has_failed(code):
    for second in range(3):
        end(code, second)

    assert wait_at(3) == 29


@pytest.mark.parametrize("code", ["", "no_table", "out_of_stock"])
def test_an_answer_or_what_an_agent_says_on_purpose_closes_the_circuit(code):
    trip()
    end(code, 3)

    assert wait_at(4) is None


@pytest.mark.parametrize("code", TELL_NOTHING)
def test_an_end_that_tells_nothing_of_the_agent_changes_nothing(code):
    for second in range(10):
        end(code, second)
    assert wait_at(10) is None

    trip(12)
    end(code, 13)
    assert wait_at(13) == 29


def test_running_out_of_a_time_that_the_user_shortened_tells_nothing_of_the_agent():
    for second in range(9):
        end("timed_out", second, timeout=0.001)
    assert wait_at(9) is None

    trip(12)
    end("timed_out", 13, timeout=39.9)
    assert wait_at(13) == 29


def test_failures_that_lie_further_apart_than_the_window_do_not_add_up():
    for second in (0, 30, 60.001, 90.002):
        end("internal", second)
    assert wait_at(91) is None

    end("internal", 120.001)
    assert wait_at(120.001) == 30


def test_another_agents_failures_do_not_count():
    trip(agent="other")

    assert wait_at(2) is None
    assert wait_at(2, agent="other") == 30


def test_without_a_number_of_failures_nothing_is_refused_and_nothing_read():
    trip()

    with CaptureQueriesContext(connection) as queries:
        assert wait_at(2, Breaker(failures=0, window=60, cooldown=30)) is None
    assert len(queries) == 0


def test_the_refusal_says_who_and_when_and_is_logged_once():
    trip()

    with capture_logs() as lines, pytest.raises(AgentUnavailable) as raised:
        require_available("test", breaker=BREAKER, whole_times=WHOLE_TIMES, now=after(2.5))

    assert raised.value.code == "agent_unavailable"
    assert raised.value.retry_after == 30
    assert raised.value.message == "The agent test has failed too often in a row. Try again in 30 s."
    (line,) = lines
    assert (line["event"], line["agent"], line["retry_after"]) == ("agent unavailable", "test", 30)


def test_after_the_cooldown_one_run_at_a_time_tries_the_agent():
    trip()
    assert wait_at(31.9) == 1
    assert wait_at(32) is None

    probe = begin(32)
    assert wait_at(32) == wait_at(60) == PROBE_SECONDS

    end("cancelled", 61, run=probe)
    assert wait_at(61) is None
    begin(61)
    assert wait_at(61) == PROBE_SECONDS


def test_a_run_from_before_the_circuit_opened_tries_nothing():
    begin(0)
    trip()

    assert wait_at(32) is None


def test_another_agents_run_tries_nothing():
    trip()
    begin(32, agent="other")

    assert wait_at(32) is None


def test_a_run_that_has_waited_for_its_turn_for_long_bars_nobody():
    trip()
    waiting = begin(32, owner="")
    assert wait_at(61.9) == PROBE_SECONDS
    assert wait_at(62) is None

    AgentExecution.objects.filter(pk=waiting.pk).update(owner="worker_1")
    assert wait_at(62) == PROBE_SECONDS


def test_a_success_of_the_probe_closes_the_circuit():
    trip()
    end("", 33, run=begin(32))

    assert wait_at(33) is None
    begin(33)
    assert wait_at(33) is None
    end("internal", 34)
    assert wait_at(34) is None


def test_a_failure_of_the_probe_opens_the_circuit_again_however_late_it_is():
    trip()
    for hour in (1, 2):
        end("internal", hour * 3600, run=begin(hour * 3600 - 10))
        assert wait_at(hour * 3600 + 1) == 29
        assert wait_at(hour * 3600 + 30) is None


def test_an_outage_is_remembered_for_as_many_failures_as_are_read():
    trip()
    for number in range(1, LOOKED_BACK - 2):
        end("internal", number * 1000)
    assert wait_at(number * 1000) == 30

    end("internal", 1_000_000)
    assert wait_at(1_000_000) is None


def test_a_sound_agent_costs_one_query_by_an_index():
    trip()
    for second in range(3, 10):
        end("", second)

    with CaptureQueriesContext(connection) as queries:
        assert wait_at(10) is None
    assert len(queries) == 1
    assert "execution_agent_ended" in module._telling_ends("test").explain()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"failures": -1}, "NETRA_BREAKER_FAILURES is -1"),
        ({"failures": 101}, "NETRA_BREAKER_FAILURES is 101"),
        ({"failures": "5"}, "NETRA_BREAKER_FAILURES is '5'"),
        ({"window": 0}, "NETRA_BREAKER_WINDOW_SECONDS is 0"),
        ({"cooldown": None}, "NETRA_BREAKER_COOLDOWN_SECONDS is None"),
        ({"cooldown": float("inf")}, "NETRA_BREAKER_COOLDOWN_SECONDS is inf"),
    ],
)
def test_numbers_that_cannot_work_are_named(changed, named):
    (problem,) = problems(**({"failures": 5, "window": 60, "cooldown": 30.0} | changed))

    assert problem.startswith(named)


def test_sound_numbers_have_no_problems():
    assert list(problems(failures=0, window=0.5, cooldown=30)) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_who_come_at_once_after_the_cooldown_one_is_let_through():
    trip((timezone.now() - START).total_seconds() - BREAKER.cooldown)
    users = [make_user() for _ in range(8)]
    gate, second = threading.Barrier(len(users)), threading.Barrier(2)

    def agree() -> Terms:
        require_available("test", breaker=BREAKER, whole_times=WHOLE_TIMES)
        with suppress(threading.BrokenBarrierError):
            second.wait(0.5)  # for another one to be let through before this one's run is there for all to see
        return make_terms()

    def start(user_id: int) -> bool:
        gate.wait()
        request = RunRequest(agent="test", message="Go.")
        try:
            register(user_id=user_id, request_id="r1", request=request, terms=agree)
        except AgentUnavailable:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(len(users)) as pool:
        started = list(pool.map(start, users))

    assert started.count(True) == 1
    assert AgentExecution.objects.live().count() == 1


class Circuit:
    """What the record has to say, as a machine that remembers."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.failures: list[float] = []
        self.opened_at: float | None = None

    def end(self, code: str, at: float, *, shortened: bool) -> None:
        if code in TELL_NOTHING or (code == "timed_out" and shortened):
            return
        if code not in FAULTS:
            self.failures, self.opened_at = [], None
            return
        self.failures.append(at)
        latest = self.failures[-self.breaker.failures :]
        is_too_often = len(latest) == self.breaker.failures and at - latest[0] <= self.breaker.window
        if is_too_often or self.opened_at is not None:
            self.opened_at = at

    def wait_at(self, now: float, live_since: list[float]) -> float | None:
        if self.opened_at is None:
            return None
        half_open_at = self.opened_at + self.breaker.cooldown
        if now < half_open_at:
            return half_open_at - now
        return PROBE_SECONDS if any(since >= half_open_at for since in live_since) else None


CODES = st.sampled_from(["", "internal", "internal", "timed_out", "no_progress", "no_table", "cancelled", "lost"])
ENDS = st.tuples(CODES, st.integers(0, 40), st.sampled_from([40.0, 40.0, 1.0]))
BREAKERS = st.builds(
    Breaker,
    failures=st.integers(1, 4),
    window=st.sampled_from([1.0, 20.0, 60.0]),
    cooldown=st.sampled_from([1.0, 30.0]),
)


class TheRecordKnows(TestCase):
    """Whatever ends, and whenever: reading the record gives the answer of a machine that remembers all of it."""

    @settings(max_examples=80, deadline=None)
    @given(breaker=BREAKERS, ends=st.lists(ENDS, max_size=10), lives=st.lists(st.integers(0, 90), max_size=2))
    def test_as_a_machine_that_remembers(self, breaker, ends, lives):
        user, agent, now = make_user(), f"agent-{next(_numbers)}", 0
        circuit = Circuit(breaker)
        for since in lives:
            begin(since, agent=agent, user_id=user)
        for code, gap, timeout in ends:
            now += gap
            end(code, now, run=begin(now, agent=agent, user_id=user), timeout=timeout)
            circuit.end(code, now, shortened=timeout < 40.0)
            for seconds in (now, now + 1, now + 29, now + 30, now + 90):
                assert wait_at(seconds, breaker, agent) == circuit.wait_at(seconds, lives)
