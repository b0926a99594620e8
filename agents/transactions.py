"""What Netra writes of a run, each function one transaction. The only module that sets status, phase, seq or events.

Functions are sync and take and return plain values; agents.database calls them from async code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from agents.events import Frame
from agents.models import LIVE_STATUSES, AgentExecution, ExecutionEvent, PhaseTransition
from agents.notices import notice_ring
from agents.runs import RunWrite

_ADVANCE_COLUMNS = ("status", "phase", "last_seq", "phase_count", "last_progress_at", "started_at")


def commit(writes: Sequence[RunWrite]) -> set[int]:
    """Writes all of it in one transaction and returns the keys of the runs that another worker owns by now.

    Fencing: a run's rows are written only if its attempt, last seq and phase count are still what its writer believes
    and it has not ended; of a fenced run nothing is written. Writing the same again after a lost answer is harmless.
    Raises django.db.Error when the database refuses; then nothing at all is written.
    """
    with transaction.atomic():
        _lock([write.run.pk for write in writes])
        advanced = _advance([write for write in writes if write.state.outcome is None])
        advanced |= {write.run.pk for write in writes if write.state.outcome is not None and _end(write)}
        written = [write for write in writes if write.run.pk in advanced]
        _insert_events([(write.run.pk, frame) for write in written for frame in write.frames])
        _insert_transitions(written)
        missed = [write for write in writes if write.run.pk not in advanced]
        return {write.run.pk for write in missed if not _is_committed(write)}


def _lock(keys: Sequence[int]) -> None:
    """The rows of several runs in the order of their keys; see agents.database."""
    if len(keys) > 1 and connection.features.has_select_for_update:
        table = AgentExecution._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [list(keys)])


def _advance(writes: Sequence[RunWrite]) -> set[int]:
    """Moves live runs on, all in one statement, and returns the keys of those that were still ours."""
    if not writes:
        return set()
    adapt = connection.ops.adapt_datetimefield_value
    parameters: list[Any] = []
    for write in writes:
        state = write.state
        parameters += (write.run.pk, write.run.attempt, write.expected_seq, write.expected_phase_count)
        parameters += (state.status.value, state.phase.value, state.last_seq, state.phase_count)
        parameters += (adapt(state.last_progress_at), adapt(state.started_at))
    with connection.cursor() as cursor:
        cursor.execute(_advance_sql(len(writes)), parameters)
        return {row[0] for row in cursor.fetchall()}


@lru_cache(maxsize=512)
def _advance_sql(rows: int) -> str:
    columns = ("id", "attempt", "last_seq", "phase_count", *_ADVANCE_COLUMNS)
    row = _row(AgentExecution, columns)
    live = ", ".join(f"'{status}'" for status in LIVE_STATUSES)
    sets = ", ".join(f"{column} = v.new_{column}" for column in _ADVANCE_COLUMNS)
    news = ", ".join(f"new_{column}" for column in _ADVANCE_COLUMNS)
    return (
        f"WITH v(pk, expected_attempt, expected_seq, expected_phase_count, {news})"
        f" AS (VALUES {', '.join([row] * rows)})"
        f" UPDATE {AgentExecution._meta.db_table} AS e SET {sets} FROM v"
        " WHERE e.id = v.pk AND e.attempt = v.expected_attempt AND e.last_seq = v.expected_seq"
        f" AND e.phase_count = v.expected_phase_count AND e.status IN ({live})"
        " RETURNING id"
    )


def _end(write: RunWrite) -> bool:
    """Ends a run that is still ours; False if it is not."""
    state, outcome = write.state, write.state.outcome
    assert outcome is not None
    if write.run.parent_run_id is not None:
        notice_ring(write.run.parent_run_id)
    return bool(
        AgentExecution.objects.live()
        .filter(
            pk=write.run.pk,
            attempt=write.run.attempt,
            last_seq=write.expected_seq,
            phase_count=write.expected_phase_count,
        )
        .update(
            status=state.status.value,
            phase=state.phase.value,
            last_seq=state.last_seq,
            phase_count=state.phase_count,
            completed_seq=state.last_seq,
            started_at=state.started_at,
            last_progress_at=state.last_progress_at,
            completed_at=outcome.at,
            result=outcome.result,
            warnings=outcome.warnings,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            lease_expires_at=None,
        )
    )


def _is_committed(write: RunWrite) -> bool:
    """Whether an earlier try wrote this although its answer was lost."""
    return AgentExecution.objects.filter(
        pk=write.run.pk,
        attempt=write.run.attempt,
        last_seq=write.state.last_seq,
        phase_count=write.state.phase_count,
        phase=write.state.phase.value,
    ).exists()


def _insert_events(rows: Sequence[tuple[int, Frame]]) -> None:
    """One statement for all: executemany would give up and take the interpreter's lock once a row."""
    adapt = connection.ops.adapt_datetimefield_value
    parameters: list[Any] = []
    for pk, frame in rows:
        parameters += (pk, frame.seq, frame.type, frame.text, adapt(frame.at))
    _insert(ExecutionEvent, ("execution_id", "seq", "type", "frame", "at"), len(rows), parameters)


def _insert_transitions(writes: Iterable[RunWrite]) -> None:
    adapt = connection.ops.adapt_datetimefield_value
    parameters: list[Any] = []
    count = 0
    for write in writes:
        for step in write.transitions:
            parameters += (write.run.pk, step.ordinal, step.from_phase.value, step.to_phase.value)
            parameters += (adapt(step.at), step.duration_ms, step.event_seq)
            count += 1
    columns = ("execution_id", "ordinal", "from_phase", "to_phase", "at", "duration_ms", "event_seq")
    _insert(PhaseTransition, columns, count, parameters)


def _insert(model: type[Model], columns: tuple[str, ...], rows: int, parameters: Sequence[Any]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_insert_sql(model, columns, rows), parameters)


@lru_cache(maxsize=2048)
def _insert_sql(model: type[Model], columns: tuple[str, ...], rows: int) -> str:
    values = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * rows)
    return f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES {values}"


def _row(model: type[Model], columns: Sequence[str]) -> str:
    """Placeholders for one row of a VALUES list; PostgreSQL needs to be told their types, SQLite must not be."""
    if connection.vendor == "sqlite":
        return f"({', '.join(['%s'] * len(columns))})"
    types = [model._meta.get_field(column).db_type(connection) for column in columns]
    return f"({', '.join(f'CAST(%s AS {type_})' for type_ in types)})"
