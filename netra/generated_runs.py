"""Runs that nobody asked for, to see Netra with a million of them: `manage.py generate_runs`.

Rows are as Netra writes them and hold every constraint. They go straight into the tables: by COPY with PostgreSQL, by
plain INSERTs with SQLite. Nothing else may write runs meanwhile, as their keys are given here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.db.models import Max

from agents import events
from agents.ids import Prefix, new_id
from agents.models import AgentExecution, ExecutionEvent, PhaseTransition, Thread
from agents.phases import ENTRY_EVENT, TERMINAL, AgentExecutionPhase, status_of

P = AgentExecutionPhase
Row = tuple[Any, ...]

RUNS_OF_A_USER: Final = 200
RUNS_OF_A_THREAD: Final = 4
SLICE: Final = 5_000
"""Runs of one transaction."""
LEAST_EVENTS: Final = 5
WALK: Final = (
    *(P.CREATED, P.WEBSOCKET_SETUP, P.CONTEXT_VALIDATION, P.STARTING, P.THINKING, P.TOOL_PREPARATION),
    *(P.TOOL_EXECUTION, P.LLM_INTERACTION, P.RESULT_PROCESSING, P.COMPLETING, P.COMPLETED),
)
SHARES: Final = {P.THINKING: 0.2, P.TOOL_EXECUTION: 0.35, P.LLM_INTERACTION: 0.35}
"""Of a run's time, in these phases; of the other ones each has a hundredth."""
ENDS: Final = {0: P.FAILED, 13: P.FAILED, 27: P.TIMED_OUT, 41: P.CANCELLED, 55: P.LOST}
"""What becomes of so many in a hundred; all others are completed."""
TIERS: Final = ("free", "free", "free", "free", "mid", "mid", "early", "platform", "free", "enterprise")
EVENT_COLUMNS: Final = ("execution_id", "seq", "type", "frame", "at")
STEP_COLUMNS: Final = ("execution_id", "ordinal", "from_phase", "to_phase", "at", "duration_ms", "event_seq")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of runs, of events in a run that has ended, and of runs that have not; `agents` share the runs."""

    runs: int
    events: int
    live: int
    agents: Sequence[str]
    begin: datetime
    now: datetime

    @property
    def pause(self) -> timedelta:
        return (self.now - self.begin) / max(1, self.runs)


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and where it has got to: by how many steps of `walk`, in so many seconds, with so many events."""

    pk: int
    run_id: str
    thread_id: str
    agent_name: str
    created_at: datetime
    took: float
    walk: tuple[AgentExecutionPhase, ...]
    last_seq: int
    result: events.RunResult
    tier: str

    @property
    def phase(self) -> AgentExecutionPhase:
        return self.walk[-1]

    def at(self, share: float) -> datetime:
        """When this share of its time was over."""
        return self.created_at + timedelta(seconds=self.took * share)


def generate(plan: Plan) -> Iterator[int]:
    """Adds the runs and their users, slice by slice; yields how many there are. At last has the statistics made."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
    users = _make_users(max(10, plan.runs // RUNS_OF_A_USER))
    first = 1 + (AgentExecution.objects.aggregate(last=Max("pk"))["last"] or 0)
    for start in range(0, plan.runs, SLICE):
        with transaction.atomic():
            _write_slice(plan, users, first, range(start, min(plan.runs, start + SLICE)))
        yield min(plan.runs, start + SLICE)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _make_users(count: int) -> list[int]:
    user_model: Any = get_user_model()
    stem = new_id(Prefix.THREAD)[-8:]
    made = [user_model(username=f"made-{stem}-{number}") for number in range(count)]
    for user in made:
        user.password = UNUSABLE_PASSWORD_PREFIX
    user_model.objects.bulk_create(made, 1_000)
    return list(user_model.objects.filter(username__startswith=f"made-{stem}-").values_list("pk", flat=True))


def _write_slice(plan: Plan, users: Sequence[int], first: int, numbers: range) -> None:
    threads = _make_threads(plan, users, numbers)
    made: list[_Made] = []
    rows = []
    defaults = {field.attname: field.get_default() for field in AgentExecution._meta.concrete_fields}
    for number in numbers:
        thread = threads[number // RUNS_OF_A_THREAD - numbers[0] // RUNS_OF_A_THREAD]
        run = _make_run(plan, number, first + number, thread.thread_id)
        made.append(run)
        rows.append(tuple((defaults | _values_of(plan, run, number, thread, made)).values()))
    _insert(AgentExecution, list(defaults), rows)
    _insert(PhaseTransition, STEP_COLUMNS, (row for run in made for row in _steps_of(run)))
    _insert(ExecutionEvent, EVENT_COLUMNS, (row for run in made for row in _events_of(run)))
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [AgentExecution]):
            cursor.execute(statement)


def _make_threads(plan: Plan, users: Sequence[int], numbers: range) -> list[Thread]:
    of = range(numbers[0] // RUNS_OF_A_THREAD, numbers[-1] // RUNS_OF_A_THREAD + 1)
    return Thread.objects.bulk_create(
        Thread(
            user_id=users[number % len(users)],
            title=f"Question {number:,}",
            created_at=plan.begin + number * RUNS_OF_A_THREAD * plan.pause,
        )
        for number in of
    )


def _make_run(plan: Plan, number: int, pk: int, thread_id: str) -> _Made:
    is_live = number >= plan.runs - plan.live
    walk, last_seq = _live_walk(number) if is_live else _whole_walk(number, plan.events)
    created_at = plan.now - timedelta(seconds=9) if is_live else plan.begin + number * plan.pause
    run_id, tier = new_id(Prefix.RUN), TIERS[number % len(TIERS)]
    took = 0.4 + (number * 7_919 % 5_000) ** 2 / 4_000_000  # seconds: 0.4 to 6.6, mostly short
    return _Made(
        pk=pk,
        run_id=run_id,
        thread_id=thread_id,
        agent_name=plan.agents[number % len(plan.agents)],
        created_at=created_at,
        took=took,
        walk=walk,
        last_seq=last_seq,
        tier=tier,
        result=events.RunResult(
            success=walk[-1] is P.COMPLETED,
            output="The North sold most: 4,700." if walk[-1] is P.COMPLETED else None,
            total_duration_ms=round(took * 1_000, 1),
            phase_count=len(walk) - 1,
            warnings=[],
            metadata=events.RunMetadata(
                correlation_id=new_id(Prefix.CORRELATION), run_id=run_id, timeout=40.0, tier=tier, streaming=True
            ),
        ),
    )


def _whole_walk(number: int, events_of_run: int) -> tuple[tuple[AgentExecutionPhase, ...], int]:
    end = ENDS.get(number % 100, P.COMPLETED)
    return (WALK if end is P.COMPLETED else (*WALK[: WALK.index(P.LLM_INTERACTION) + 1], end)), events_of_run


def _live_walk(number: int) -> tuple[tuple[AgentExecutionPhase, ...], int]:
    """Of three live runs one waits, one thinks, and one is in its tool."""
    reached = (P.CREATED, P.THINKING, P.TOOL_EXECUTION)[number % 3]
    return WALK[: WALK.index(reached) + 1], (0, 2, 3)[number % 3]


def _values_of(plan: Plan, run: _Made, number: int, thread: Thread, before: Sequence[_Made]) -> dict[str, Any]:
    has_ended, is_held = run.phase in TERMINAL, run.phase is not P.CREATED
    parent = before[-2] if number % 20 == 19 and has_ended and len(before) > 1 else None
    error = "" if not has_ended or run.phase is P.COMPLETED else run.phase.value
    return {
        "id": run.pk,
        "run_id": run.run_id,
        "thread_id": thread.pk,
        "user_id": thread.user_id,
        "parent_id": parent.pk if parent else None,
        "depth": 1 if parent else 0,
        "agent_name": run.agent_name,
        "request_id": f"made-{run.run_id}",
        "request": f'{{"agent":"{run.agent_name}","message":"Which region sold most?"}}',
        "status": status_of(run.phase).value,
        "phase": run.phase.value,
        "attempt": int(is_held) + (number % 150 == 0 and has_ended),
        "owner": f"worker_{number % 8}" if is_held else "",
        "lease_expires_at": _lease_of(plan, number, has_ended=has_ended) if is_held else None,
        "last_progress_at": run.at(1) if is_held else None,
        "deadline_at": run.created_at + timedelta(seconds=40) if is_held else None,
        "last_seq": run.last_seq,
        "phase_count": len(run.walk) - 1,
        "completed_seq": run.last_seq if has_ended else None,
        "tier": run.tier,
        "timeout": 40.0,
        "correlation_id": run.result.metadata.correlation_id,
        "result": msgspec.json.encode(run.result).decode() if has_ended else "",
        "error_code": error,
        "error_message": "It was generated so." if error else "",
        "warnings": "[]",
        "created_at": run.created_at,
        "started_at": run.at(0.05) if is_held else None,
        "completed_at": run.at(1) if has_ended else None,
    }


def _lease_of(plan: Plan, number: int, *, has_ended: bool) -> datetime:
    """One of ten live runs has lost its worker."""
    return plan.now + timedelta(hours=-1 if has_ended or number % 10 == 0 else 1)


def _steps_of(run: _Made) -> Iterator[Row]:
    """What each step tells of is the first event of its kind; a run's last step has the last one."""
    seqs = {P.STARTING: 1, P.THINKING: 2, P.TOOL_EXECUTION: 3, **dict.fromkeys(TERMINAL, run.last_seq)}
    weights = [SHARES.get(phase, 0.01) for phase in run.walk[:-1]]
    gone = 0.0
    for ordinal, (origin, target) in enumerate(zip(run.walk, run.walk[1:], strict=False), 1):
        seq = seqs[target] if target in ENTRY_EVENT else None
        share = weights[ordinal - 1] / sum(weights)
        gone += share
        yield run.pk, ordinal, origin.value, target.value, run.at(gone), round(share * run.took * 1_000, 3), seq


def _events_of(run: _Made) -> Iterator[Row]:
    tool, message = new_id(Prefix.TOOL_CALL), new_id(Prefix.MESSAGE)
    for seq in range(1, run.last_seq + 1):
        event = _event(run, seq, tool, message)
        at = run.at(seq / run.last_seq)
        envelope = events.Envelope(
            type=event.type,
            run_id=run.run_id,
            thread_id=run.thread_id,
            agent_name=run.agent_name,
            seq=seq,
            timestamp=at,
            data=event,
        )
        yield run.pk, seq, event.type, events.encode_frame(envelope).text, at


def _event(run: _Made, seq: int, tool: str, message: str) -> events.Event:
    if seq == run.last_seq and run.phase in TERMINAL:
        status: Any = run.phase.value
        problem = None if run.phase is P.COMPLETED else events.Problem(status, "It was generated so.")
        duration = run.result.total_duration_ms
        return events.AgentCompleted(status=status, result=run.result, error=problem, execution_time_ms=duration)
    match seq:
        case 1:
            meta = run.result.metadata
            return events.AgentStarted(
                message="Which region sold most?",
                attempt=1,
                timeout=meta.timeout,
                tier=meta.tier,
                streaming=meta.streaming,
                correlation_id=meta.correlation_id,
            )
        case 2:
            return events.AgentThinking(reasoning="I am looking at the table.", step_number=1)
        case 3:
            arguments = {"by": "region", "of": "revenue"}
            return events.ToolExecuting(tool_call_id=tool, tool_name="group_by", arguments=arguments)
        case 4:
            return events.ToolCompleted(
                tool_call_id=tool, tool_name="group_by", status="success", duration_ms=120.0, result={"North": 4_700}
            )
        case _:
            is_last = seq == run.last_seq - 1
            return events.PartialResult(message_id=message, delta="The North sold most. ", is_complete=is_last)


def _insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> None:
    quote = connection.ops.quote_name
    names = {field.attname: quote(str(field.column)) for field in model._meta.concrete_fields}
    into = f"{quote(model._meta.db_table)} ({', '.join(names[column] for column in columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            adapt = connection.ops.adapt_datetimefield_value
            values = (tuple(adapt(value) if isinstance(value, datetime) else value for value in row) for row in rows)
            cursor.cursor.executemany(f"INSERT INTO {into} VALUES ({', '.join('?' * len(columns))})", values)
