"""Looks at the log as each transaction left it, and holds what was committed against who was allowed to commit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from agents.leases import Claim
from agents.models import AgentExecution, ExecutionEvent
from agents.phases import TERMINAL
from agents.runs import Run, RunWrite
from agents.transactions import commit
from netra.testing.laws import require_legal_phases, require_record_is_log
from tests.runs import read_log
from tests.simulation.loop import Process

COLUMNS = ("pk", "run_id", "user_id", "attempt", "status", "phase", "last_seq", "phase_count", "completed_seq")


class Witness:
    """The log as it was committed, whatever was pruned of it later; `attempts` has whose turn it is in each run."""

    def __init__(self, counts: Counter[str]) -> None:
        self.texts: dict[str, list[str]] = {}
        self.user_of: dict[str, int] = {}
        self.attempts: dict[str, tuple[int, Process | None]] = {}
        self.pruned: set[str] = set()
        self.on_takeover: Callable[[], None] | None = None
        self._counts = counts
        self._run_of: dict[int, str] = {}
        self._last_row = 0

    def frames(self, run_id: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts[run_id]]

    def ended_at(self, run_id: str) -> datetime:
        """When the run says that it ended."""
        return datetime.fromisoformat(self.frames(run_id)[-1]["timestamp"])

    @property
    def ended(self) -> list[str]:
        return [run_id for run_id, texts in self.texts.items() if texts and _type_of(texts[-1]) == "agent_completed"]

    def note(self, process: Process | None, args: tuple[Any, ...], value: Any) -> None:
        """To be called after each job, in the database's thread, with what it returned."""
        if isinstance(value, list) and value and isinstance(value[0], Claim):
            for claim in value:
                self._note_claim(process, claim)
        elif args and args[0] is commit:
            self._note_commit(process, args[1], value)

    def _note_claim(self, process: Process | None, claim: Claim) -> None:
        run = claim.run
        before, _ = self.attempts.get(run.run_id, (0, None))
        assert run.attempt == before + 1, f"{run.run_id}: attempt {run.attempt} follows {before}"
        assert claim.state.phase not in TERMINAL, f"{run.run_id} was claimed, but has ended"
        self.attempts[run.run_id] = (run.attempt, process)
        if run.attempt > 1:
            self._counts["takeover"] += 1
            assert self._counts["worker hindered"], f"{run.run_id} was taken from a worker that does its duty"
            if self.on_takeover is not None:
                self.on_takeover()

    def _note_commit(self, process: Process | None, writes: Sequence[RunWrite], fenced: set[int]) -> None:
        self._counts["fenced"] += bool(fenced)
        writers = {write.run.pk: write.run for write in writes}
        rows = ExecutionEvent.objects.filter(pk__gt=self._last_row).order_by("pk")
        for pk, execution, seq, text in rows.values_list("pk", "execution_id", "seq", "frame"):
            self._last_row = pk
            assert execution in writers, f"an event came into the log that nobody committed: {text}"
            run = writers[execution]
            assert (run.attempt, process) == self.attempts[run.run_id], f"attempt {run.attempt} is fenced: {text}"
            assert execution not in fenced, f"refused as fenced, but in the log: {text}"
            self._append(run, seq, text)
        for record in AgentExecution.objects.filter(pk__in=writers).values(*COLUMNS):
            self._compare(record)

    def _append(self, run: Run, seq: int, text: str) -> None:
        texts = self.texts.setdefault(run.run_id, [])
        self.user_of[run.run_id] = run.user_id
        assert seq == len(texts) + 1, f"{run.run_id}: event {seq} follows event {len(texts)}"
        assert not texts or _type_of(texts[-1]) != "agent_completed", f"{run.run_id} goes on after its end: {text}"
        texts.append(text)

    def _compare(self, record: dict[str, Any]) -> None:
        texts = self.texts.get(record["run_id"], [])
        ended = bool(texts) and _type_of(texts[-1]) == "agent_completed"
        assert record["last_seq"] == len(texts), f"the record has {record['last_seq']} events, the log {len(texts)}"
        assert (record["completed_seq"] is not None) == ended == (record["phase"] in TERMINAL), f"{record}"

    def check_database(self) -> None:
        """All records, histories and events at the end, against what was committed. In the database's thread."""
        runs = AgentExecution.objects.values(*COLUMNS)
        assert {run["run_id"] for run in runs} == set(self.texts), "there are runs without events"
        for run in runs:
            frames = self.frames(run["run_id"])
            kept = read_log(run["run_id"])
            assert kept == (frames[-1:] if len(kept) < len(frames) and run["run_id"] in self.pruned else frames)
            require_record_is_log(run, frames)
            steps = AgentExecution.objects.get(pk=run["pk"]).transitions.order_by("ordinal").values()
            require_legal_phases(list(steps), frames)
            assert len(steps) == run["phase_count"]


def _type_of(text: str) -> str:
    return text[len('{"type":"') :].partition('"')[0]
