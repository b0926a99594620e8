"""What only PostgreSQL does: sessions that end, deadlocks, a pool that runs dry, several writers at once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connection, transaction

from agents.database import AWAY, RETRY_SECONDS, call, call_and_keep, in_database, lock_users, patiently
from agents.leases import Claim, claim_pending, renew
from agents.models import AgentExecution
from agents.transactions import commit
from tests.databases import database_away, elsewhere, terminate_sessions
from tests.runs import LEASE, claim_runs, end_of, make_claim, make_user, register_run

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def fresh_connection() -> Iterator[None]:
    """This thread's connection may be one of those that a test ends."""
    yield
    connection.close()


def ask(question: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(question, parameters)
        return [row[0] for row in cursor.fetchall()]


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each gave or raised, each in a thread of its own."""

    def attempt(work: Callable[[], Any]) -> Any:
        try:
            return call(work)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(attempt, works))


@contextmanager
def all_connections() -> Iterator[None]:
    """Holds all that the pool may have; afterwards they are open and wait in it."""
    connection.close()
    pool = connection.pool  # type: ignore[attr-defined]
    pool.open()
    with ExitStack() as held:
        for _ in range(pool.max_size):
            held.enter_context(pool.connection())
        yield


def open_all_connections() -> None:
    with all_connections():
        pass


def restart_sessions() -> int:
    with elsewhere() as server:
        return terminate_sessions(server, connection.settings_dict["NAME"])


def test_every_wait_has_a_limit():
    shown = {name: ask(f"SHOW {name}")[0] for name in ("statement_timeout", "lock_timeout", "application_name")}

    assert shown == {"statement_timeout": "30s", "lock_timeout": "5s", "application_name": "netra"}
    assert ask("SHOW idle_in_transaction_session_timeout") == ["10s"]


@pytest.mark.parametrize("state", ["40001", "40P01", "53300", "55P03", "57014", "57P01", "25006", "25P03"])
def test_what_may_go_well_the_next_time_is_away(state):
    with pytest.raises(AWAY, match="as you wish"):
        call_and_keep(ask, f"DO $$ BEGIN RAISE EXCEPTION 'as you wish' USING ERRCODE = '{state}'; END $$")

    assert connection.connection is None


@pytest.mark.parametrize("state", ["54000", "42P01"])
def test_what_will_never_go_well_is_not(state):
    with pytest.raises(ProgrammingError, match="as you wish"):
        call_and_keep(ask, f"DO $$ BEGIN RAISE EXCEPTION 'as you wish' USING ERRCODE = '{state}'; END $$")


def test_a_deadlock_is_away():
    first, second = make_claim(), make_claim()
    barrier = threading.Barrier(2)

    def touch(*claims: Claim) -> None:
        with transaction.atomic():
            for claim in claims:
                AgentExecution.objects.filter(pk=claim.run.pk).update(owner="touched")
                if claim is claims[0]:
                    barrier.wait(10)

    answers = at_once(lambda: touch(first, second), lambda: touch(second, first))

    assert Counter(map(type, answers)) == {type(None): 1, OperationalError: 1}
    assert "deadlock" in str(next(filter(None, answers)))


async def test_sessions_that_end_cost_nothing(workshop):
    """As by a restart of the server, in the middle of a run."""
    restarts: list[int] = []

    async def execute(context: Any) -> str:
        for number in range(30):
            await context.think(f"{number}")
            if number % 10 == 5:
                await workshop.journal.drain()
                restarts.append(await asyncio.to_thread(restart_sessions))
        return "done"

    log = await workshop.run(execute)

    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    assert log[-1]["data"]["result"]["output"] == "done"
    assert len(restarts) == 3
    assert min(restarts) >= 1


async def test_who_waits_patiently_goes_on_soon_after_the_database_is_back():
    await asyncio.to_thread(open_all_connections)
    away = database_away()
    await asyncio.to_thread(away.__enter__)
    waiting = asyncio.ensure_future(patiently(AgentExecution.objects.count))
    await asyncio.sleep(4 * RETRY_SECONDS)
    assert not waiting.done()

    await asyncio.to_thread(away.__exit__, None, None, None)

    assert await asyncio.wait_for(waiting, 20) == 0


def test_a_pool_that_has_run_dry_is_away():
    with all_connections(), pytest.raises(AWAY):
        call(AgentExecution.objects.count)

    assert call(AgentExecution.objects.count) == 0


async def test_connections_go_back_to_the_pool():
    await asyncio.gather(*(in_database(AgentExecution.objects.count) for _ in range(50)))

    states = await in_database(ask, "SELECT state FROM pg_stat_activity WHERE datname = current_database()")
    assert states.count("idle in transaction") == 0
    assert len(states) <= 20


def test_after_one_failure_no_dead_connection_is_left():
    open_all_connections()
    restart_sessions()

    with pytest.raises(AWAY):
        call(AgentExecution.objects.count)
    assert call(AgentExecution.objects.count) == 0


def held_up(threads: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
    """Begins it in another thread, and returns when it waits for a lock or is done."""
    question = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    begun = threads.submit(call, work)
    with elsewhere() as server:
        while not begun.done() and not server.execute(question, [connection.settings_dict["NAME"]]).fetchall():
            pass
    return begun


def test_a_commit_and_renewals_never_wait_for_each_other():
    ada = make_user()
    first, second = make_claim(ada), make_claim(ada)

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            renew(owner="worker_1", keys=[first.run.pk], lease=LEASE)
            committing = held_up(threads, partial(commit, [end_of(second), end_of(first)]))
            assert not committing.done()
            assert renew(owner="worker_1", keys=[second.run.pk], lease=LEASE) == {second.run.pk: False}

        assert committing.result(20) == set()


def test_a_takeover_that_is_committed_while_a_commit_waits_for_it_fences_it():
    claim = make_claim(make_user())
    mine = AgentExecution.objects.filter(pk=claim.run.pk)

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            mine.update(attempt=claim.run.attempt + 1, owner="worker_2")
            committing = held_up(threads, partial(commit, [end_of(claim)]))
            assert not committing.done()

        assert committing.result(20) == {claim.run.pk}
    assert (mine.get().status, mine.get().last_seq, mine.get().events.count()) == ("pending", 0, 0)


def test_who_holds_a_user_holds_up_the_runs_of_nobody_else():
    ada, bob = make_user(), make_user()
    held, free = register_run(ada).run_id, register_run(bob).run_id

    with transaction.atomic():
        lock_users([ada])
        (claims,) = at_once(claim_runs)
        assert [claim.run.run_id for claim in claims] == [free]

    assert [claim.run.run_id for claim in claim_runs()] == [held]


def test_a_run_that_is_made_while_others_are_claimed_has_its_whole_time():
    ada = make_user()
    register_run(ada)
    late: list[str] = []

    def let_another_register(execute: Callable[..., Any], sql: str, *context: Any) -> Any:
        answer = execute(sql, *context)
        if "COUNT(" in sql and not late:
            late.append(at_once(partial(register_run, ada))[0].run_id)
        return answer

    with connection.execute_wrapper(let_another_register):
        claims = claim_pending(owner="worker_1", slots=9, per_user=9, lease=LEASE)

    assert late[0] in {claim.run.run_id for claim in claims}
    for claim in claims:
        assert claim.deadline_at - claim.run.created_at >= timedelta(seconds=claim.run.timeout)


def test_a_claim_counts_what_another_worker_has_taken_meanwhile():
    """Each statement sees what was committed before it: the count may be older than the list of waiting runs."""
    ada = make_user()
    made = [register_run(ada).run_id for _ in range(6)]
    others: list[Claim] = []

    def let_another_claim(execute: Callable[..., Any], sql: str, *context: Any) -> Any:
        answer = execute(sql, *context)
        if "COUNT(" in sql and not others:
            others.extend(at_once(partial(claim_runs, "worker_2", per_user=2))[0])
        return answer

    with connection.execute_wrapper(let_another_claim):
        mine = claim_runs("worker_1", per_user=2)

    assert [claim.run.run_id for claim in others] == made[:2]
    assert mine == []
