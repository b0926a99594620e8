import asyncio
import threading
import time

import pytest
from django.db import DatabaseError, OperationalError, connection, connections

from agents.database import AWAY, call_and_keep, in_database
from agents.models import AgentExecution
from tests.runs import make_user, register_run

pytestmark = pytest.mark.django_db(transaction=True)


async def test_queries_run_off_the_event_loop_and_off_asgirefs_thread():
    def where() -> str:
        return threading.current_thread().name

    assert (await in_database(where)).startswith("netra-database")


async def test_the_value_of_a_query_and_its_exceptions_come_through():
    user = await in_database(make_user)
    made = await in_database(register_run, user, request_id="r1")

    assert await in_database(AgentExecution.objects.count) == 1
    with pytest.raises(AgentExecution.DoesNotExist):
        await in_database(AgentExecution.objects.get, run_id=made.run_id + "x")


async def test_a_slow_query_holds_up_neither_the_loop_nor_other_queries():
    gate = threading.Event()
    slow = asyncio.gather(*(in_database(gate.wait, 5.0) for _ in range(4)))

    quick = await asyncio.wait_for(in_database(AgentExecution.objects.count), 3.0)
    assert not slow.done()
    gate.set()

    assert quick == 0
    assert await slow == [True] * 4


def test_a_connection_that_broke_is_not_kept():
    connection.ensure_connection()

    def break_down() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(OperationalError):
        call_and_keep(break_down)

    assert connection.connection is None
    assert AgentExecution.objects.count() == 0


def test_a_missing_table_is_a_bug_and_not_a_database_that_is_away():
    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM no_such_table")

    with pytest.raises(DatabaseError, match="no_such_table") as raised:
        call_and_keep(ask)

    assert not isinstance(raised.value, AWAY)


@pytest.mark.sqlite
def test_a_locked_database_is_away():
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    other = connections.create_connection("default")
    other.cursor().execute("BEGIN IMMEDIATE")
    began = time.monotonic()

    with pytest.raises(AWAY, match="locked"):
        call_and_keep(make_user)

    other.close()
    connection.close()
    assert time.monotonic() - began < 5
    assert call_and_keep(make_user)
