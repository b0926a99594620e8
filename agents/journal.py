"""The one writer: collects what the runs of this process have to write and commits it together.

Group commit: one transaction for all runs with something to write, begun when the previous one is done. There is no
fixed delay; under load the batches grow by themselves. What is committed is handed on for publication, in order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import structlog
from django.db import connection

from agents import metrics
from agents.database import AWAY, call_and_keep
from agents.errors import CommitFailed, Fenced
from agents.events import Frame
from agents.runs import CommittedBatch, Run, RunState, RunWrite, Transition
from agents.transactions import commit

BATCH_EVENTS: Final = 500
"""Events in one transaction, at most (a single run's share is never split)."""
HELD_EVENTS: Final = 500
HELD_CHARACTERS: Final = 1_000_000
"""What one run may have waiting for the next transaction; whoever fills it waits until that begins."""
RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)

log = structlog.get_logger(__name__)


class _Share(msgspec.Struct, eq=False):
    """One run's part of a coming transaction."""

    write: RunWrite
    taken: asyncio.Future[None]
    committed: asyncio.Future[Exception | None]
    characters: int = 0


_Key = tuple[int, int]
"""A run and its attempt: a later one has nothing to do with what an earlier one was refused."""


def _key_of(run: Run) -> _Key:
    return run.pk, run.attempt


class Journal:
    """Commits writes of many runs, in each run's order; belongs to the event loop that it is first used in."""

    def __init__(self, publish: Callable[[Sequence[CommittedBatch]], None]) -> None:
        self._publish = publish
        self._waiting: dict[_Key, _Share] = {}
        self._writers: dict[_Key, Exception | None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netra-journal")

    async def write(
        self,
        run: Run,
        before: RunState,
        after: RunState,
        *,
        frames: Sequence[Frame],
        transitions: Sequence[Transition],
        wait: bool,
    ) -> None:
        """Takes a run's next rows; returns when they are queued, or with `wait` when they are committed.

        Who writes faster than the database takes it waits as well. Cancelling the caller does not take rows back.
        Raises Fenced when the run is another worker's, CommitFailed when the database refused rows of this run.
        """
        if refusal := self._writers.setdefault(_key_of(run), None):
            raise refusal
        share = self._share_of(run, before)
        share.write.state = after
        share.write.frames += frames
        share.write.transitions += transitions
        for frame in frames:
            share.characters += len(frame.text)
        self._start_flushing()
        is_full = len(share.write.frames) >= HELD_EVENTS or share.characters >= HELD_CHARACTERS
        if wait and (refusal := await asyncio.shield(share.committed)):
            raise refusal
        if is_full:
            await asyncio.shield(share.taken)
            if refusal := self._writers.get(_key_of(run)):
                raise refusal

    def forget(self, run: Run) -> None:
        """To be called when a run's writer is done, so that nothing is kept of it."""
        self._writers.pop(_key_of(run), None)

    async def drain(self) -> None:
        """Returns when all that was written is committed."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.shield(self._flushing)

    async def close(self) -> None:
        """Drains, and gives the thread and its connection back."""
        await self.drain()
        await asyncio.get_running_loop().run_in_executor(self._thread, _close_connection)
        self._thread.shutdown()

    def _share_of(self, run: Run, before: RunState) -> _Share:
        if (share := self._waiting.get(_key_of(run))) is None:
            write = RunWrite(
                run=run,
                expected_seq=before.last_seq,
                expected_phase_count=before.phase_count,
                state=before,
                frames=[],
                transitions=[],
            )
            loop = asyncio.get_running_loop()
            share = _Share(write, loop.create_future(), loop.create_future())
            self._waiting[_key_of(run)] = share
        return share

    def _start_flushing(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="journal")

    async def _flush(self) -> None:
        while shares := self._take_batch():
            begun = time.perf_counter()
            refusals = await self._commit(shares)
            written = [share.write for share in shares if share.write.run.pk not in refusals]
            metrics.COMMIT_SECONDS.observe(time.perf_counter() - begun)
            count_written(written)
            self._hand_on(written)
            for share in shares:
                share.committed.set_result(refusals.get(share.write.run.pk))
                if refusal := refusals.get(share.write.run.pk):
                    self._refuse(share.write.run, refusal)

    def _take_batch(self) -> list[_Share]:
        """A run has one writer in a transaction: rows of a later attempt are not taken for those of an earlier one."""
        taken: dict[int, _Share] = {}
        events = 0
        for key, share in list(self._waiting.items()):
            pk = share.write.run.pk
            if pk in taken or (taken and events + len(share.write.frames) > BATCH_EVENTS):
                break
            events += len(share.write.frames)
            taken[pk] = self._waiting.pop(key)
            share.taken.set_result(None)
        return list(taken.values())

    def _hand_on(self, writes: Sequence[RunWrite]) -> None:
        try:
            self._publish([batch_of(write) for write in writes])
        except Exception:  # a bug; nobody who waits for a commit may wait for ever
            log.exception("committed events not handed on")

    def _refuse(self, run: Run, refusal: Exception) -> None:
        """What else this writer has to write is refused as well, unless nobody asks for it any more."""
        key = _key_of(run)
        if key in self._writers:
            self._writers[key] = refusal
        if (late := self._waiting.pop(key, None)) is not None:
            late.taken.set_result(None)
            late.committed.set_result(refusal)

    async def _commit(self, shares: Sequence[_Share]) -> dict[int, Exception]:
        """Commits until the database has answered; returns why which runs' rows were not written."""
        tries = 0
        while True:
            try:
                fenced = await self._in_thread([share.write for share in shares])
            except AWAY as error:
                delay = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
                tries += 1
                metrics.COMMITS_RETRIED.inc()
                log.warning("database away", error=str(error), tries=tries, retry_in_s=delay)
                await asyncio.sleep(delay)
            except Exception as error:  # refused by the database, or by Python on the way there
                return await self._commit_one_by_one(shares, error)
            else:
                return {pk: Fenced(f"run {pk} has another writer or has ended") for pk in fenced}

    async def _commit_one_by_one(self, shares: Sequence[_Share], error: Exception) -> dict[int, Exception]:
        """One run's bad rows must not hold up the others."""
        if len(shares) == 1:
            run = shares[0].write.run
            log.error("database refused rows", run_id=run.run_id, exc_info=error)
            return {run.pk: CommitFailed(f"the database refused rows of {run.run_id}")}
        refusals: dict[int, Exception] = {}
        for share in shares:
            refusals |= await self._commit([share])
        return refusals

    async def _in_thread(self, writes: Sequence[RunWrite]) -> set[int]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call_and_keep, commit, writes)


def _close_connection() -> None:
    connection.close()  # the one of the thread that runs this


def count_written(written: Sequence[RunWrite]) -> None:
    """Counts what one transaction has written."""
    events = sum(len(write.frames) for write in written)
    metrics.EVENTS_COMMITTED.inc(events)
    metrics.COMMIT_EVENTS.observe(events)
    for write in written:
        if write.state.outcome is not None:
            metrics.RUNS_ENDED.labels(write.state.status.value).inc()


def batch_of(write: RunWrite) -> CommittedBatch:
    """What is published of a write."""
    return CommittedBatch(
        user_id=write.run.user_id,
        run_id=write.run.run_id,
        first_seq=write.expected_seq + 1,
        texts=[frame.text for frame in write.frames],
    )
