"""Notices between processes: workers would find all of it by themselves, only later; here nothing else tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from django.db import connection, transaction
from msgspec.structs import replace

from agents import notices
from agents.children import register_child
from agents.database import in_database, patiently
from agents.notices import notice_pending, pass_on_notices
from agents.registration import request_cancel
from agents.runs import RunRequest
from agents.transactions import commit
from tests.databases import elsewhere, terminate_sessions
from tests.operators import OPERATOR, make_interventions
from tests.runs import Workshop, claim_runs, end_of, make_claim, make_terms, make_user, register_run

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

PATIENCE = 10.0


class Heard:
    """What a process hears, in order. It begins when the process listens."""

    def __init__(self) -> None:
        self.notices: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def enqueue(self, run_id: str) -> None:
        self.notices.put_nowait(("pending", run_id))

    def cancel(self, run_id: str) -> None:
        self.notices.put_nowait(("cancel", run_id))

    def leave(self, run_id: str) -> None:
        self.notices.put_nowait(("leave", run_id))

    def ring(self, run_id: str) -> None:
        self.notices.put_nowait(("ring", run_id))

    async def next(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.notices.get(), PATIENCE)


@asynccontextmanager
async def listening() -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.get_running_loop().create_task(pass_on_notices(heard))
    try:
        assert await heard.next() == ("pending", ""), "who begins to listen looks once"
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_makes_a_run_tells_of_it():
    ada = await in_database(make_user)
    async with listening() as heard:
        run = await in_database(partial(register_run, ada))
        assert await heard.next() == ("pending", run.run_id)


async def test_who_has_a_run_that_an_operator_ends_is_told_to_leave_it(workshop: Workshop):
    claim = await workshop.claim()
    async with listening() as heard:
        await in_database(make_interventions(workshop).end, claim.run.run_id, OPERATOR)
        assert await heard.next() == ("leave", claim.run.run_id)


async def test_what_is_rolled_back_is_not_told():
    def give_up() -> None:
        with transaction.atomic():
            notice_pending("run_never")
            transaction.set_rollback(True)

    async with listening() as heard:
        await in_database(give_up)
        await in_database(partial(notice_pending, "run_2"))
        assert await heard.next() == ("pending", "run_2")


async def test_who_cancels_a_run_tells_of_it():
    claim = await in_database(lambda: make_claim(make_user()))
    async with listening() as heard:
        await in_database(partial(request_cancel, user_id=None, run_id=claim.run.run_id, now=datetime.now(UTC)))
        assert await heard.next() == ("cancel", claim.run.run_id)


async def test_a_childs_end_is_told_to_whoever_executes_its_parent():
    parent = await in_database(lambda: make_claim(make_user()))
    request = RunRequest(agent="scripted", message="Part of it.")

    def make_and_claim_child() -> None:
        register_child(parent.run, key="1", request=request, terms=lambda seconds: make_terms())

    await in_database(make_and_claim_child)
    (child,) = await in_database(partial(claim_runs, "worker_2"))
    async with listening() as heard:
        assert await in_database(commit, [end_of(child)]) == set()
        assert await heard.next() == ("ring", parent.run.run_id)


async def test_a_child_that_goes_on_tells_nobody_and_neither_does_a_refused_end():
    parent = await in_database(lambda: make_claim(make_user()))
    request = RunRequest(agent="scripted", message="Part of it.")
    await in_database(lambda: register_child(parent.run, key="1", request=request, terms=lambda seconds: make_terms()))
    (child,) = await in_database(partial(claim_runs, "worker_2"))
    late = end_of(child)
    stale = replace(late, run=replace(child.run, attempt=child.run.attempt + 1))
    async with listening() as heard:
        assert await in_database(commit, [stale]) == {child.run.pk}
        await in_database(partial(notice_pending, "run_2"))
        assert await heard.next() == ("pending", "run_2")


async def test_a_connection_that_was_ended_is_made_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notices, "AGAIN_SECONDS", 0.01)

    def end_all_sessions() -> None:
        with elsewhere() as server:
            terminate_sessions(server, connection.settings_dict["NAME"])
        connection.close()

    async with listening() as heard:
        await asyncio.to_thread(end_all_sessions)
        assert await heard.next() == ("pending", ""), "it looks again for what it may have missed"
        await patiently(notice_pending, "run_2")
        assert await heard.next() == ("pending", "run_2")
