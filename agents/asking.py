"""A run asks a person before it goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.approvals import ApprovalRecord, Question, expire_approval, open_approval, read_approval
from agents.bounds import MAX_LABEL_BYTES, cut_text
from agents.bridge import RunNotifier
from agents.database import AWAY, in_database, patiently
from agents.desk import LOOK_SECONDS, Desk
from agents.errors import Fenced, UnknownExecution
from agents.events import Decision
from agents.redaction import restore
from agents.runs import Run
from agents.showing import digest_of, shown


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the question. `arguments` are those asked about, as the person left them."""

    decision: Decision
    arguments: dict[str, Any]
    comment: str

    @property
    def is_approved(self) -> bool:
        return self.decision == "approved"


class Asking:
    """The approvals of one attempt at a run. `longest` in seconds is the most that an answer may take."""

    def __init__(self, *, run: Run, desk: Desk, longest: float, told: frozenset[str]) -> None:
        self._run = run
        self._desk = desk
        self._longest = longest
        self._told = told
        self._asked: Counter[str] = Counter()
        self._leaves = False

    def leave(self) -> None:
        """From now on nothing is decided by going: the run's next attempt asks the same again."""
        self._leaves = True

    async def ask(
        self,
        notifier: RunNotifier,
        reason: str,
        *,
        tool_name: str | None,
        arguments: Mapping[str, Any] | None,
        timeout: float | None,
    ) -> Approved:
        presented = None if arguments is None else shown(arguments)
        key = digest_of([reason, tool_name, presented])
        self._asked[key] += 1
        record = await patiently(
            open_approval,
            self._run,
            key=f"{key} {self._asked[key]}",
            question=Question(
                reason=cut_text(str(reason)),
                tool_name=tool_name and cut_text(tool_name, MAX_LABEL_BYTES),
                arguments=presented,
                seconds=self._longest if timeout is None else min(timeout, self._longest),
            ),
        )
        if record.decision is None:
            record = await self._wait(notifier, record, reason, tool_name, presented)
        elif record.approval_id in self._told:  # it was answered while nobody worked for the run
            await self._tell(notifier, record, presented)
        assert record.decision is not None
        given = dict(arguments or {})
        return Approved(
            decision=record.decision,
            arguments=given if record.arguments is None else restore(record.arguments, presented or {}, given),
            comment=record.comment,
        )

    async def _wait(
        self,
        notifier: RunNotifier,
        record: ApprovalRecord,
        reason: str,
        tool_name: str | None,
        presented: dict[str, Any] | None,
    ) -> ApprovalRecord:
        await notifier.notify_approval_requested(
            record.approval_id, reason, tool_name=tool_name, arguments=presented, expires_at=record.expires_at
        )
        try:
            with self._desk.waiting(for_person=True):
                record = await self._decision_of(record)
        except asyncio.CancelledError:
            if not self._leaves:
                with suppress(Fenced, UnknownExecution, *AWAY):
                    await self._tell(notifier, await in_database(expire_approval, record.pk), presented)
            raise
        await self._tell(notifier, record, presented)
        return record

    async def _decision_of(self, record: ApprovalRecord) -> ApprovalRecord:
        while record.decision is None:
            bell = self._desk.bell()
            left = (record.expires_at - datetime.now(UTC)).total_seconds()
            record = await patiently(read_approval if left > 0 else expire_approval, record.pk)
            if record.decision is None:
                await asyncio.wait({bell}, timeout=min(left, LOOK_SECONDS))
        return record

    async def _tell(self, notifier: RunNotifier, record: ApprovalRecord, presented: dict[str, Any] | None) -> None:
        assert record.decision is not None
        arguments = presented if record.arguments is None else shown(record.arguments)
        await notifier.notify_approval_resolved(record.approval_id, record.decision, arguments=arguments)
