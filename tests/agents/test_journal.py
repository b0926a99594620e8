"""The one writer, against a real database that is made to fail in real ways."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn

import pytest
from django.db import OperationalError, connection, connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.database import in_database
from agents.errors import CommitFailed, Fenced
from agents.events import Frame
from agents.journal import BATCH_EVENTS, HELD_EVENTS, Journal
from agents.leases import EXPIRED, Claim, claim_stalled
from agents.models import AgentExecution, ExecutionEvent
from agents.phases import AgentExecutionPhase
from agents.runs import CommittedBatch, Outcome, Run, RunState, Transition
from tests.databases import database_away, enter, poisoned
from tests.runs import Workshop, make_claim, make_user, read_run, read_seqs, read_transitions, until

pytestmark = pytest.mark.django_db(transaction=True)

_P = AgentExecutionPhase
AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class Writer:
    """Writes events of one run one after the other, as its tracker would."""

    def __init__(self, journal: Journal, claim: Claim) -> None:
        self.run: Run = claim.run
        self.state: RunState = claim.state
        self._journal = journal

    async def write(self, events: int = 1, *, wait: bool = False, text: str = "{}") -> None:
        before = self.state
        self.state = replace(before, last_seq=before.last_seq + events, last_progress_at=AT)
        frames = [Frame(before.last_seq + n, "agent_thinking", text, AT) for n in range(1, events + 1)]
        await self._journal.write(self.run, before, self.state, frames=frames, transitions=[], wait=wait)

    async def step(self, *, wait: bool = True) -> None:
        before = self.state
        self.state = replace(before, phase=_P.WEBSOCKET_SETUP, phase_count=before.phase_count + 1, last_progress_at=AT)
        step = Transition(
            ordinal=self.state.phase_count,
            from_phase=before.phase,
            to_phase=_P.WEBSOCKET_SETUP,
            at=AT,
            duration_ms=0.0,
            event_seq=None,
        )
        await self._journal.write(self.run, before, self.state, frames=[], transitions=[step], wait=wait)

    async def end(self) -> None:
        before, seq = self.state, self.state.last_seq + 1
        outcome = Outcome(at=AT, result="{}", warnings=[])
        self.state = replace(
            before,
            phase=_P.LOST,
            last_seq=seq,
            phase_count=before.phase_count + 1,
            outcome=outcome,
            last_progress_at=AT,
        )
        frame = Frame(seq, "agent_completed", "{}", AT)
        await self._journal.write(self.run, before, self.state, frames=[frame], transitions=[], wait=True)


@pytest.fixture
async def writers(workshop: Workshop) -> Callable[..., Any]:
    async def make(count: int = 1) -> list[Writer]:
        user = await in_database(make_user)
        return [Writer(workshop.journal, await in_database(make_claim, user)) for _ in range(count)]

    return make


@pytest.fixture
async def impatient(workshop: Workshop) -> None:
    """The journal's connections give up on a locked SQLite after 50 ms, not 20 s. (PostgreSQL refuses at once.)"""

    def shorten() -> None:
        if connection.vendor != "sqlite":
            return
        # A copy for this thread alone: all threads of the process share one dict of options.
        wrapper = connections["default"]
        options = wrapper.settings_dict["OPTIONS"] | {"timeout": 0.05}
        wrapper.settings_dict = wrapper.settings_dict | {"OPTIONS": options}
        wrapper.close()

    await workshop.in_journal(shorten)


def commits_of(batches: list[list[CommittedBatch]]) -> list[int]:
    return [sum(len(batch.texts) for batch in batches_) for batches_ in batches]


@pytest.fixture
def published(workshop: Workshop) -> list[list[CommittedBatch]]:
    """What each commit handed on for publication."""
    commits: list[list[CommittedBatch]] = []

    def publish(batches) -> None:
        commits.append(list(batches))

    workshop.journal._publish = publish
    return commits


@contextmanager
def held_thread(workshop: Workshop) -> Iterator[None]:
    """The journal's thread is busy, as with a slow commit, until the block ends."""
    gate = threading.Event()
    workshop.journal._thread.submit(gate.wait, 20)
    try:
        yield
    finally:
        gate.set()


async def test_what_is_awaited_is_in_the_log_when_the_call_returns(workshop, writers):
    (writer,) = await writers()

    await writer.write(3, wait=True)

    assert await in_database(read_seqs, writer.run.run_id) == [1, 2, 3]
    assert (await in_database(read_run, writer.run.run_id)).last_seq == 3


async def test_what_is_not_awaited_is_in_the_log_after_a_drain(workshop, writers):
    (writer,) = await writers()

    await writer.write(3)
    await writer.write(2)
    await workshop.journal.drain()

    assert await in_database(read_seqs, writer.run.run_id) == [1, 2, 3, 4, 5]


async def test_nothing_is_published_before_it_is_committed(workshop, writers, monkeypatch):
    (writer,) = await writers()
    seen: list[tuple[int, int]] = []

    def publish(batches) -> None:
        other = connections.create_connection("default")
        with other.cursor() as cursor:
            cursor.execute("SELECT max(seq) FROM agents_executionevent")
            seen.extend((batch.first_seq + len(batch.texts) - 1, cursor.fetchone()[0]) for batch in batches)
        other.close()

    workshop.journal._publish = publish
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    for _ in range(5):
        await writer.write(2)
        await asyncio.sleep(0.002)
    await workshop.journal.drain()

    assert seen[-1] == (10, 10)
    assert all(published <= committed for published, committed in seen)


async def test_runs_that_write_while_a_commit_is_under_way_share_the_next_one(workshop, writers, published):
    many = await writers(6)
    with held_thread(workshop):
        first = asyncio.gather(many[0].write(wait=True))
        await asyncio.sleep(0.01)
        rest = asyncio.gather(*(writer.write(2, wait=True) for writer in many[1:]))
        await asyncio.sleep(0.01)
    await asyncio.gather(first, rest)

    assert commits_of(published) == [1, 10]


async def test_a_batch_has_at_most_500_events(workshop, writers, published):
    many = await writers(12)
    with held_thread(workshop):
        await many[0].write()
        await asyncio.sleep(0)  # a commit of one event is under way, all else waits
        for writer in many:
            await writer.write(120)
    await workshop.journal.drain()

    commits = commits_of(published)
    assert BATCH_EVENTS == 500
    assert sum(commits) == 12 * 120 + 1
    assert max(commits) <= 500
    assert len(commits) <= 5
    for writer in many:
        seqs = await in_database(read_seqs, writer.run.run_id)
        assert seqs == [*range(1, len(seqs) + 1)]


async def test_a_writer_beyond_500_waiting_events_waits_and_others_do_not(workshop, writers):
    fast, other = await writers(2)
    with held_thread(workshop):
        await fast.write()
        await asyncio.sleep(0)

        async def race() -> None:
            while True:
                await fast.write()

        racing = asyncio.gather(race(), return_exceptions=True)
        await asyncio.sleep(0.1)
        held = len(workshop.journal._waiting[fast.run.pk, fast.run.attempt].write.frames)
        await asyncio.wait_for(other.write(), 1.0)

        assert HELD_EVENTS == held == 500
        assert fast.state.last_seq == 501
    await until(lambda: fast.state.last_seq > 501)
    racing.cancel()
    await asyncio.wait([racing])
    await workshop.journal.drain()

    seqs = await in_database(read_seqs, fast.run.run_id)
    assert seqs == [*range(1, fast.state.last_seq + 1)]


async def test_a_writer_goes_on_while_what_it_filled_is_being_committed(workshop, writers):
    (fast,) = await writers()
    with ExitStack() as second_commit:
        with held_thread(workshop):
            await fast.write()
            await asyncio.sleep(0)
            second_commit.enter_context(held_thread(workshop))
            filling = asyncio.gather(fast.write(HELD_EVENTS))
            await asyncio.sleep(0.05)
            assert not filling.done()
        await asyncio.wait_for(filling, 5)
        assert await in_database(read_seqs, fast.run.run_id) == [1]


async def test_a_writer_that_waits_for_room_hears_that_its_rows_are_refused(workshop, writers):
    (bad,) = await writers()
    leave = await in_database(enter, poisoned(bad.run.pk))
    try:
        with held_thread(workshop):
            await bad.write()
            await asyncio.sleep(0)
            filling = asyncio.gather(bad.write(HELD_EVENTS), return_exceptions=True)
            await asyncio.sleep(0.05)
        (refusal,) = await asyncio.wait_for(filling, 5)
    finally:
        await in_database(leave)

    assert isinstance(refusal, CommitFailed)
    assert await in_database(read_seqs, bad.run.run_id) == []


async def taken_over(writer: Writer, attempt: int) -> Writer:
    """Somebody has taken the run, and maybe given it back."""
    mine = AgentExecution.objects.filter(pk=writer.run.pk)
    await in_database(mine.update, attempt=attempt - 1, lease_expires_at=EXPIRED)
    (claim,) = await in_database(partial(claim_stalled, owner="worker_1", slots=1, lease=timedelta(seconds=15)))
    assert claim.run.attempt == attempt
    return Writer(writer._journal, claim)


async def test_what_an_earlier_attempt_is_refused_is_not_refused_to_a_later_one(workshop, writers):
    (first,) = await writers()
    with held_thread(workshop):
        writing = asyncio.gather(first.write(wait=True), return_exceptions=True)
        await asyncio.sleep(0)
        workshop.journal.forget(first.run)
        third = await taken_over(first, 3)
    assert [type(answer) for answer in await writing] == [Fenced]

    assert workshop.journal._writers == {}
    await third.write(2, wait=True)
    assert await in_database(read_seqs, first.run.run_id) == [1, 2]


async def test_rows_of_two_attempts_that_wait_together_are_told_apart(workshop, writers):
    other, first = await writers(2)
    with held_thread(workshop):
        await other.write()
        await asyncio.sleep(0)  # a commit is under way, all else waits
        old = asyncio.gather(first.write(3, wait=True), return_exceptions=True)
        await asyncio.sleep(0)
        second = await taken_over(first, 2)
        new = asyncio.gather(second.write(2, wait=True))
        await asyncio.sleep(0)

    assert [type(answer) for answer in await old] == [Fenced]
    await new
    assert await in_database(read_seqs, first.run.run_id) == [1, 2]


async def test_a_writer_of_large_events_waits_as_well(workshop, writers):
    (writer,) = await writers()
    with held_thread(workshop):
        await writer.write()
        await asyncio.sleep(0)
        large = asyncio.gather(writer.write(5, text="x" * 220_000))
        await asyncio.sleep(0.05)

        assert not large.done()
    await large
    await workshop.journal.drain()
    assert await in_database(read_seqs, writer.run.run_id) == [*range(1, 7)]


async def test_a_database_that_is_away_is_asked_again_and_nothing_is_lost(impatient, workshop, writers, published):
    first, second = await writers(2)
    leave = await in_database(enter, database_away())
    waiting = asyncio.gather(first.write(2, wait=True), second.write(3, wait=True))
    await asyncio.sleep(0.4)  # several tries
    await first.write(2)

    assert not waiting.done()
    assert published == []
    await in_database(leave)
    await waiting
    await workshop.journal.drain()

    assert await in_database(read_seqs, first.run.run_id) == [1, 2, 3, 4]
    assert await in_database(read_seqs, second.run.run_id) == [1, 2, 3]
    assert sum(commits_of(published)) == 7


async def lose_next_answer(workshop: Workshop, *, after: Callable[[], None] = lambda: None) -> None:
    """The next transaction is committed, but the connection breaks before the answer is in."""

    def prepare() -> None:
        connection.ensure_connection()
        wrapper = connections["default"]
        if "_commit" in wrapper.__dict__:
            return
        really_commit = wrapper._commit  # type: ignore[attr-defined]

        def lose_answer() -> NoReturn:
            del wrapper.__dict__["_commit"]
            wrapper.execute_wrappers.remove(execute)
            after()
            raise OperationalError("server closed the connection unexpectedly")

        def commit() -> None:
            really_commit()
            lose_answer()

        def execute(really_execute: Callable[..., Any], *arguments: Any) -> Any:
            answer = really_execute(*arguments)
            return answer if wrapper.in_atomic_block else lose_answer()

        wrapper.__dict__["_commit"] = commit
        wrapper.execute_wrappers.append(execute)  # a statement outside of a transaction is one by itself

    await workshop.in_journal(prepare)


async def test_a_commit_whose_answer_was_lost_is_not_doubled(workshop, writers, published):
    (writer,) = await writers()
    await writer.step()
    lost: list[int] = []
    await lose_next_answer(workshop, after=lambda: lost.append(1))

    await writer.write(3, wait=True)
    await writer.write(1, wait=True)

    assert lost == [1]
    assert await in_database(read_seqs, writer.run.run_id) == [1, 2, 3, 4]
    assert commits_of(published)[1:] == [3, 1]


async def test_a_transition_whose_commits_answer_was_lost_is_there_once(workshop, writers):
    (writer,) = await writers()
    await lose_next_answer(workshop)

    await writer.step()

    assert len(await in_database(read_transitions, writer.run.run_id)) == 1


async def test_an_end_whose_commits_answer_was_lost_is_one_end(workshop, writers, published):
    (writer,) = await writers()
    await lose_next_answer(workshop)

    await writer.end()

    run = await in_database(read_run, writer.run.run_id)
    assert (run.status, run.completed_seq) == ("lost", 1)
    assert await in_database(read_seqs, writer.run.run_id) == [1]
    assert [[batch.first_seq for batch in batches] for batches in published] == [[1]]


async def test_a_run_whose_rows_are_refused_does_not_hold_up_the_others(workshop, writers, published):
    good, bad, last = await writers(3)
    leave = await in_database(enter, poisoned(bad.run.pk))
    try:
        answers = await asyncio.gather(
            *(writer.write(2, wait=True) for writer in (good, bad, last)), return_exceptions=True
        )
        with pytest.raises(CommitFailed):
            await bad.write()
    finally:
        await in_database(leave)

    assert [type(answer) for answer in answers] == [type(None), CommitFailed, type(None)]
    assert await in_database(read_seqs, good.run.run_id) == [1, 2]
    assert await in_database(read_seqs, last.run.run_id) == [1, 2]
    assert await in_database(read_seqs, bad.run.run_id) == []
    assert (await in_database(read_run, bad.run.run_id)).last_seq == 0
    assert bad.run.run_id not in {batch.run_id for batches in published for batch in batches}


async def test_rows_queued_behind_refused_ones_are_refused_too(workshop, writers):
    (bad,) = await writers()
    leave = await in_database(enter, poisoned(bad.run.pk))
    try:
        with held_thread(workshop):
            first = asyncio.gather(bad.write(wait=True), return_exceptions=True)
            await asyncio.sleep(0.01)
            second = asyncio.gather(bad.write(wait=True), return_exceptions=True)
            await asyncio.sleep(0.01)
        answers = [*(await first), *(await second)]
    finally:
        await in_database(leave)

    assert [type(answer) for answer in answers] == [CommitFailed, CommitFailed]
    assert await in_database(read_seqs, bad.run.run_id) == []


async def test_a_fenced_writer_is_told_and_nothing_of_it_is_in_the_log(workshop, writers, published):
    old, other = await writers(2)
    await old.write(2, wait=True)
    await in_database(AgentExecution.objects.filter(pk=old.run.pk).update, attempt=2)

    answers = await asyncio.gather(old.write(wait=True), other.write(wait=True), return_exceptions=True)
    with pytest.raises(Fenced):
        await old.write()
    with pytest.raises(Fenced):
        await old.end()

    assert [type(answer) for answer in answers] == [Fenced, type(None)]
    assert await in_database(read_seqs, old.run.run_id) == [1, 2]
    assert (await in_database(read_run, old.run.run_id)).status == "pending"
    assert sum(commits_of(published)) == 3


async def test_a_forgotten_refusal_does_not_stick_to_the_next_attempt(workshop, writers):
    (old,) = await writers()
    await in_database(AgentExecution.objects.filter(pk=old.run.pk).update, attempt=2)
    with pytest.raises(Fenced):
        await old.write(wait=True)
    workshop.journal.forget(old.run)

    old.run, old.state = replace(old.run, attempt=2), replace(old.state, last_seq=0)
    await old.write(2, wait=True)

    assert await in_database(read_seqs, old.run.run_id) == [1, 2]


async def test_cancelling_a_waiting_writer_loses_no_rows(workshop, writers):
    one, other = await writers(2)
    with held_thread(workshop):
        await other.write()
        await asyncio.sleep(0)
        writing = asyncio.create_task(one.write(2, wait=True))
        await asyncio.sleep(0.01)
        writing.cancel()
        await asyncio.wait([writing])
        await one.write(1)
    await workshop.journal.drain()

    assert await in_database(read_seqs, one.run.run_id) == [1, 2, 3]


async def test_cancelling_one_of_two_waiting_writers_leaves_the_other_waiting(workshop, writers):
    (one,) = await writers()
    with held_thread(workshop):
        first = asyncio.create_task(one.write(wait=True))
        second = asyncio.gather(one.write(wait=True))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait([first])
        assert not second.done()
    await second

    assert await in_database(read_seqs, one.run.run_id) == [1, 2]


async def test_the_journal_rests_when_nothing_is_to_be_written(workshop, writers, published):
    (writer,) = await writers()
    await writer.write(wait=True)
    await workshop.journal.drain()
    await workshop.journal.drain()

    assert len(published) == 1
    assert workshop.journal._waiting == {}


async def test_closing_commits_what_waits_and_closes_the_journals_own_connection(workshop, writers):
    (writer,) = await writers()
    journal = Journal(publish=workshop.bridge.publish)
    writer._journal = journal
    await writer.write(2)
    mine = connections["default"]

    await journal.close()

    assert connections["default"] is mine
    assert await in_database(read_seqs, writer.run.run_id) == [1, 2]


actions = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "await", "step"]), st.integers(0, 3), st.sampled_from([1, 2, 40, 260])),
        st.tuples(st.just("cancel"), st.integers(0, 3), st.just(3)),
        st.tuples(st.just("turn"), st.just(0), st.sampled_from([0, 1, 5])),
        st.tuples(st.just("lost answer"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


async def play(workshop: Workshop, writer: Writer, action: str, number: int) -> list[asyncio.Task[None]]:
    """Does an action of a script; returns what goes on."""
    going_on = []
    if action == "write":
        going_on.append(asyncio.create_task(writer.write(number)))
        await asyncio.sleep(0)
    elif action == "await":
        await writer.write(number, wait=True)
    elif action == "step":
        await writer.step(wait=number > 1)
    elif action == "cancel":
        writing = asyncio.create_task(writer.write(number, wait=True))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
    elif action == "turn":
        for _ in range(number):
            await asyncio.sleep(0)
    else:
        await lose_next_answer(workshop)
    return going_on


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(actions)
async def test_however_runs_interleave_the_log_holds_each_from_1_to_n_in_order(workshop, writers, script):
    many = await writers(4)
    already = len(workshop.bridge.batches)
    pending = [await play(workshop, many[index], action, number) for action, index, number in script]
    await asyncio.gather(*itertools.chain(*pending))
    await workshop.journal.drain()

    for writer in many:
        run = await in_database(read_run, writer.run.run_id)
        seqs = await in_database(read_seqs, writer.run.run_id)
        ordinals = [row.ordinal for row in await in_database(read_transitions, writer.run.run_id)]
        assert seqs == [*range(1, writer.state.last_seq + 1)]
        assert ordinals == [*range(1, writer.state.phase_count + 1)]
        assert (run.last_seq, run.phase_count, run.phase) == (len(seqs), len(ordinals), writer.state.phase.value)
        told = [batch for batch in workshop.bridge.batches[already:] if batch.run_id == writer.run.run_id]
        place = 0
        for batch in told:
            if batch.texts:
                assert batch.first_seq == place + 1
            place += len(batch.texts)
        assert place == len(seqs)
    assert await in_database(ExecutionEvent.objects.filter(seq=0).count) == 0
