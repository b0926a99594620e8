import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.database import in_database
from agents.leases import EXPIRED, Claim, claim_pending
from agents.models import AgentExecution
from agents.registration import request_cancel
from agents.runner import AgentRunner, Limits
from tests.databases import enter, poisoned
from tests.runs import (
    Workshop,
    make_terms,
    make_user,
    read_log,
    read_run,
    register_run,
    until,
    until_in_database,
)

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS = Limits(total=100, per_user=20, lease=15.0, renew=0.05, poll=0.05)


class Staff:
    """Runners of one workshop, and an agent that works until it is let go."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.runners: list[AgentRunner] = []
        self.running: list[str] = []
        self.begun: list[str] = []
        self.most = 0
        self.gate = asyncio.Event()
        workshop.add_agent(self._work, restartable=True)

    async def _work(self, context: Any) -> int:
        self.begun.append(context.run_id)
        self.running.append(context.run_id)
        self.most = max(self.most, len(self.running))
        try:
            await self.gate.wait()
        finally:
            self.running.remove(context.run_id)
        attempt: int = context.attempt
        return attempt

    def start(self, **limits: Any) -> AgentRunner:
        runner = AgentRunner(core=self.workshop.core, limits=Limits(**{**as_dict(LIMITS), **limits}))
        runner.start()
        self.runners.append(runner)
        return runner

    async def register(self, user: int, count: int = 1, **registration: Any) -> list[str]:
        return [(await in_database(register_run, user, **registration)).run_id for _ in range(count)]

    async def ended(self, *run_ids: str) -> list[str]:
        """Waits for the end of runs; returns their statuses."""
        await until_in_database(lambda: AgentExecution.objects.live().filter(run_id__in=run_ids).count() == 0)
        return [(await in_database(read_run, run_id)).status for run_id in run_ids]

    async def stop(self) -> None:
        self.gate.set()
        for runner in self.runners:
            await asyncio.wait_for(runner.stop(2.0), 10)


def as_dict(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in limits.__struct_fields__}


@pytest.fixture
async def staff(workshop: Workshop) -> AsyncIterator[Staff]:
    team = Staff(workshop)
    yield team
    await team.stop()


@pytest.fixture
async def ada(transactional_db: None) -> int:
    return await in_database(make_user, "ada")


def leave_behind(run_id: str, *, attempt: int = 1, restartable: bool = True, phase: str = "thinking") -> None:
    """What a worker leaves that died in the middle of a run."""
    claim_pending(owner="worker_dead", slots=100, per_user=100, now=datetime.now(UTC), lease=timedelta(seconds=15))
    columns: dict[str, Any] = {"phase": phase, "status": "running" if phase != "created" else "pending"}
    AgentExecution.objects.filter(run_id=run_id).update(
        lease_expires_at=EXPIRED, attempt=attempt, restartable=restartable, **columns
    )


async def test_runs_that_wait_are_executed(staff, ada):
    staff.gate.set()
    runs = await staff.register(ada, 3)
    runner = staff.start()

    assert await staff.ended(*runs) == ["completed"] * 3
    assert runner.is_alive


async def test_a_run_is_taken_as_soon_as_it_is_told_of(staff, ada):
    staff.gate.set()
    runner = staff.start(renew=30.0)
    await asyncio.sleep(0.05)
    (run,) = await staff.register(ada)
    runner.enqueue(run)

    async with asyncio.timeout(3):
        assert await staff.ended(run) == ["completed"]


async def test_no_more_runs_than_the_limit_go_on_at_once(staff, ada):
    runs = await staff.register(ada, 5)
    staff.start(total=2)
    await until(lambda: len(staff.running) == 2)
    await asyncio.sleep(0.1)

    assert sorted(staff.running) == sorted(runs[:2])
    staff.gate.set()
    assert await staff.ended(*runs) == ["completed"] * 5
    assert staff.most == 2
    assert sorted(staff.begun) == sorted(runs)


async def test_no_user_has_more_runs_going_on_than_their_limit(staff, ada):
    bob = await in_database(make_user, "bob")
    adas = await staff.register(ada, 4)
    bobs = await staff.register(bob, 1)
    staff.start(per_user=2)
    await until(lambda: len(staff.running) == 3)
    await asyncio.sleep(0.1)

    assert sorted(staff.running) == sorted([*adas[:2], *bobs])
    staff.gate.set()
    await staff.ended(*adas, *bobs)


async def test_runs_of_a_thread_go_one_after_the_other(staff, ada):
    first = await in_database(register_run, ada)
    rest = await staff.register(ada, 2, thread_id=first.thread_id)
    staff.start()
    await until(lambda: staff.running)
    await asyncio.sleep(0.1)

    assert staff.running == [first.run_id]
    staff.gate.set()
    await staff.ended(first.run_id, *rest)
    assert staff.begun == [first.run_id, *rest]
    assert staff.most == 1


async def cancel(runner: AgentRunner, user: int, run_id: str) -> None:
    await in_database(request_cancel, user_id=user, run_id=run_id, now=datetime.now(UTC))
    runner.cancel(run_id)


async def test_a_run_that_waits_is_cancelled_without_beginning(staff, ada):
    first, second = await staff.register(ada, 2)
    runner = staff.start(total=1)
    await until(lambda: staff.running == [first])

    await cancel(runner, ada, second)

    assert await staff.ended(second) == ["cancelled"]
    assert [frame["type"] for frame in await in_database(read_log, second)] == ["agent_completed"]
    assert staff.begun == staff.running == [first]


async def test_a_run_that_goes_on_is_cancelled(staff, ada):
    (run,) = await staff.register(ada)
    runner = staff.start()
    await until(lambda: staff.running)

    await cancel(runner, ada, run)

    assert await staff.ended(run) == ["cancelled"]
    assert staff.running == []


async def test_cancelling_twice_changes_nothing(staff, ada):
    (run,) = await staff.register(ada)
    runner = staff.start()
    await until(lambda: staff.running)
    for _ in range(2):
        await cancel(runner, ada, run)
    await staff.ended(run)
    before = await in_database(read_log, run)
    await cancel(runner, ada, run)
    await asyncio.sleep(0.1)

    assert await in_database(read_log, run) == before
    assert [frame["type"] for frame in before].count("agent_completed") == 1


async def test_a_cancel_that_only_the_database_knows_of_is_obeyed(staff, ada):
    (run,) = await staff.register(ada)
    staff.start()
    await until(lambda: staff.running)

    await in_database(request_cancel, user_id=ada, run_id=run, now=datetime.now(UTC))

    assert await staff.ended(run) == ["cancelled"]


async def test_many_cancelled_runs_do_not_stop_the_runner(staff, ada):
    runs = await staff.register(ada, 250, terms=make_terms(live_limit=1_000))
    await in_database(AgentExecution.objects.update, cancel_requested_at=datetime.now(UTC))
    runner = staff.start(total=1)

    assert set(await staff.ended(*runs)) == {"cancelled"}
    assert runner.is_alive
    (last,) = await staff.register(ada)
    runner.enqueue(last)
    staff.gate.set()
    assert await staff.ended(last) == ["completed"]


async def test_a_run_that_its_runner_has_to_give_up_each_time_is_lost_after_three_attempts(staff, ada):
    staff.gate.set()
    (run,) = await staff.register(ada, terms=make_terms(restartable=True))
    pk = (await in_database(read_run, run)).pk
    leave = await in_database(enter, poisoned(pk, "agent_thinking"))
    try:
        runner = staff.start()
        assert await staff.ended(run) == ["lost"]
    finally:
        await in_database(leave)

    record = await in_database(read_run, run)
    assert (record.attempt, record.handovers) == (4, 0)
    assert runner.is_alive


async def test_a_lease_is_renewed_while_the_run_goes_on(staff, ada):
    (run,) = await staff.register(ada)
    staff.start(lease=0.5)
    await until(lambda: staff.running)
    await asyncio.sleep(0.7)

    record = await in_database(read_run, run)
    assert record.lease_expires_at is not None
    assert record.lease_expires_at > datetime.now(UTC)
    assert (record.attempt, staff.running) == (1, [run])


async def test_a_heartbeat_is_no_progress(staff, ada):
    (run,) = await staff.register(ada)
    staff.start()
    await until(lambda: staff.running)
    await staff.workshop.journal.drain()
    before = (await in_database(read_run, run)).last_progress_at
    await asyncio.sleep(0.2)

    assert (await in_database(read_run, run)).last_progress_at == before


async def test_a_run_whose_lease_is_lost_is_stopped_and_writes_no_more(staff, ada):
    (run,) = await staff.register(ada)
    staff.start()
    await until(lambda: staff.running)
    await until(lambda: len(staff.workshop.bridge.frames(run)) == 2)
    await in_database(AgentExecution.objects.update, owner="worker_other", attempt=2)

    await until(lambda: not staff.running)
    await asyncio.sleep(0.1)

    assert len(await in_database(read_log, run)) == 2
    assert (await in_database(read_run, run)).status == "running"


async def test_a_dead_workers_run_is_ended_as_lost(staff, ada):
    (run,) = await staff.register(ada)
    await in_database(leave_behind, run, restartable=False)
    staff.start()

    assert await staff.ended(run) == ["lost"]
    (end,) = await in_database(read_log, run)
    assert end["data"]["error"]["code"] == "lost"
    assert staff.begun == []


async def test_a_dead_workers_run_is_tried_again_when_its_agent_allows(staff, ada):
    """A whole first attempt, killed; the second goes on in the same log."""
    (run,) = await staff.register(ada, terms=make_terms(restartable=True))
    first = staff.start()
    await until(lambda: staff.running)
    await until(lambda: len(staff.workshop.bridge.frames(run)) == 2)
    kill(first)
    await until(lambda: not staff.running)
    await in_database(AgentExecution.objects.update, lease_expires_at=EXPIRED)
    staff.gate.set()
    staff.start()

    assert await staff.ended(run) == ["completed"]
    log = await in_database(read_log, run)
    assert [frame["type"] for frame in log] == [
        "agent_started",
        "agent_thinking",
        "run_recovered",
        "agent_thinking",
        "agent_completed",
    ]
    assert [frame["seq"] for frame in log] == [1, 2, 3, 4, 5]
    assert log[2]["data"]["attempt"] == log[-1]["data"]["result"]["output"] == 2


def kill(runner: AgentRunner) -> None:
    """Its tasks end where they are, as in a process that dies; nothing is released."""
    for task in [*runner._duties, *(slot.task for slot in runner._slots.values())]:
        assert task is not None
        task.cancel()


async def test_a_run_that_killed_three_workers_is_not_tried_again(staff, ada):
    (run,) = await staff.register(ada)
    await in_database(leave_behind, run, attempt=3)
    staff.start()

    assert await staff.ended(run) == ["lost"]
    assert (await in_database(read_run, run)).attempt == 4
    assert staff.begun == []


async def test_a_dead_workers_run_that_was_to_be_cancelled_is_cancelled(staff, ada):
    (run,) = await staff.register(ada)
    await in_database(leave_behind, run)
    await in_database(request_cancel, user_id=ada, run_id=run, now=datetime.now(UTC))
    staff.start()

    assert await staff.ended(run) == ["cancelled"]


async def test_stopping_lets_runs_end_within_the_grace_period(staff, ada):
    (run,) = await staff.register(ada)
    runner = staff.start()
    await until(lambda: staff.running)
    stopping = asyncio.create_task(runner.stop(5.0))
    await asyncio.sleep(0.05)
    (late,) = await staff.register(ada)
    runner.enqueue(late)
    await asyncio.sleep(0.05)
    staff.gate.set()
    await asyncio.wait_for(stopping, 5)
    staff.runners.clear()

    assert (await in_database(read_run, run)).status == "completed"
    assert (await in_database(read_run, late)).status == "pending"
    assert not runner.is_alive


async def test_stopping_ends_what_cannot_be_tried_again_as_lost(staff, ada):
    (run,) = await staff.register(ada, terms=make_terms(restartable=False))
    runner = staff.start()
    await until(lambda: staff.running)
    await asyncio.wait_for(runner.stop(0.1), 5)
    staff.runners.clear()

    assert (await in_database(read_run, run)).status == "lost"
    assert (await in_database(read_log, run))[-1]["type"] == "agent_completed"


async def test_stopping_leaves_what_can_be_tried_again_for_the_next_process(staff, ada):
    (run,) = await staff.register(ada, terms=make_terms(restartable=True))
    runner = staff.start()
    await until(lambda: staff.running)
    await until(lambda: len(staff.workshop.bridge.frames(run)) == 2)
    await asyncio.wait_for(runner.stop(0.1), 5)
    staff.runners.clear()
    assert (await in_database(read_run, run)).status == "running"
    staff.gate.set()
    staff.start()

    assert await staff.ended(run) == ["completed"]
    assert (await in_database(read_run, run)).attempt == 2


@pytest.mark.parametrize("grace", [0.0, 1.0])
async def test_what_is_being_claimed_while_a_runner_stops_is_left_to_others_at_once(staff, ada, monkeypatch, grace):
    gate, is_asked, is_answered = threading.Event(), threading.Event(), threading.Event()

    def claim_late(**terms: Any) -> list[Claim]:
        is_asked.set()
        gate.wait(10)
        claims = claim_pending(**terms)
        is_answered.set()
        return claims

    (begun,) = await staff.register(ada, terms=make_terms(restartable=True))
    runner = staff.start()
    await until(lambda: staff.begun)
    monkeypatch.setattr("agents.runner.claim_pending", claim_late)
    await until(is_asked.is_set)  # and none that was begun before the patch is under way
    (late,) = await staff.register(ada)
    asyncio.get_running_loop().call_later(0.5, gate.set)
    await asyncio.wait_for(runner.stop(grace), 5)
    staff.runners.clear()
    await until(is_answered.is_set)

    left = await in_database(read_run, late)
    assert (left.status, left.lease_expires_at) == ("pending", EXPIRED)
    assert staff.begun == [begun]


async def test_leases_are_renewed_while_a_claim_waits(staff, ada, monkeypatch):
    gate, is_asked = threading.Event(), threading.Event()

    def claim_late(**terms: Any) -> list[Claim]:
        is_asked.set()
        gate.wait(10)
        return claim_pending(**terms)

    (run,) = await staff.register(ada)
    staff.start()
    await until(lambda: staff.begun)
    monkeypatch.setattr("agents.runner.claim_pending", claim_late)
    await until(is_asked.is_set)
    try:
        for _ in range(2):
            before = (await in_database(read_run, run)).lease_expires_at
            mine = AgentExecution.objects.filter(run_id=run, lease_expires_at__gt=before)
            await until_in_database(mine.exists)
    finally:
        gate.set()


async def test_two_runners_share_the_work_and_execute_each_run_once(staff, ada):
    staff.gate.set()
    runs = await staff.register(ada, 20)
    staff.start(total=3)
    staff.start(total=3)

    assert await staff.ended(*runs) == ["completed"] * 20
    assert sorted(staff.begun) == sorted(runs)


async def test_no_run_that_begins_during_a_renewal_is_taken_for_lost(staff, ada):
    staff.gate.set()
    staff.start(renew=0.001)
    runs = []
    for _ in range(40):
        runs += await staff.register(ada)

    assert await staff.ended(*runs) == ["completed"] * 40
    assert {(await in_database(read_run, run)).attempt for run in runs} == {1}
