"""What Netra writes of a run, each function one transaction. The only module that sets status, phase, seq or events.

Functions are sync and take and return plain values; agents.database calls them from async code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import Model

from agents.models import LIVE_STATUSES, AgentExecution, ExecutionEvent, PhaseTransition
from agents.notices import RING_SQL
from agents.runs import RunWrite

_ADVANCE_COLUMNS = ("status", "phase", "last_seq", "phase_count", "last_progress_at", "started_at")
_END_COLUMNS = ("completed_seq", "completed_at", "result", "warnings", "error_code", "error_message")
_EVENT_COLUMNS = ("execution_id", "seq", "type", "frame", "at")
_TRANSITION_COLUMNS = ("execution_id", "ordinal", "from_phase", "to_phase", "at", "duration_ms", "event_seq")
_FENCE = (
    "e.attempt = v.attempt AND e.last_seq = v.expected_seq AND e.phase_count = v.expected_phase_count"
    f" AND e.status IN ({', '.join(map(repr, LIVE_STATUSES))})"
)
"""What a run must still be for its writer's rows to be written."""


def commit(writes: Sequence[RunWrite]) -> set[int]:
    """Writes all of it in one transaction and returns the keys of the runs that another worker owns by now.

    Fencing: a run's rows are written only if its attempt, last seq and phase count are still what its writer believes
    and it has not ended; of a fenced run nothing is written. Writing the same again after a lost answer is harmless.
    Raises django.db.Error when the database refuses; then nothing at all is written.
    """
    if not writes:
        return set()
    written = _write_at_once(writes) if connection.vendor == "postgresql" else _write(writes)
    missed = [write for write in writes if write.run.pk not in written]
    return {write.run.pk for write in missed if not _is_committed(write)}


def _write_at_once(writes: Sequence[RunWrite]) -> set[int]:
    """Moves runs on, with their events and transitions, and returns the keys of those that were still ours.

    For PostgreSQL: one statement, which is a transaction by itself, so one round trip; and its rows are three texts of
    JSON, which cost a tenth of what thousands of parameters do, here and there. Runs are locked in the order of their
    keys; see agents.database. A run that waits for one that ends here is told, wherever it is executed.
    """
    runs = [_as_row(write) for write in writes]
    events = [
        {"execution_id": write.run.pk, "seq": frame.seq, "type": frame.type, "frame": frame.text, "at": frame.at}
        for write in writes
        for frame in write.frames
    ]
    transitions = [
        {"execution_id": write.run.pk, **msgspec.structs.asdict(step)} for write in writes for step in write.transitions
    ]
    with connection.cursor() as cursor:
        cursor.execute(_at_once_sql(), [msgspec.json.encode(rows).decode() for rows in (runs, events, transitions)])
        return {row[0] for row in cursor.fetchall()}


def _as_row(write: RunWrite) -> dict[str, Any]:
    """For PostgreSQL. What a live run does not set is missing."""
    state, outcome = write.state, write.state.outcome
    row = {
        "id": write.run.pk,
        "attempt": write.run.attempt,
        "expected_seq": write.expected_seq,
        "expected_phase_count": write.expected_phase_count,
        "status": state.status,
        "phase": state.phase,
        "last_seq": state.last_seq,
        "phase_count": state.phase_count,
        "last_progress_at": state.last_progress_at,
        "started_at": state.started_at,
    }
    if outcome is not None:
        row |= msgspec.structs.asdict(outcome) | {"completed_at": outcome.at, "completed_seq": state.last_seq}
        row |= {"parent_run_id": write.run.parent_run_id}
    return row


@cache
def _at_once_sql() -> str:
    columns = ("id", "attempt", *_ADVANCE_COLUMNS, *_END_COLUMNS)
    run = _recordset(AgentExecution, columns, expected_seq="int", expected_phase_count="int", parent_run_id="text")
    table = AgentExecution._meta.db_table
    sets = [f"{column} = v.{column}" for column in _ADVANCE_COLUMNS]
    sets += [f"{column} = COALESCE(v.{column}, e.{column})" for column in _END_COLUMNS]
    sets += ["lease_expires_at = CASE WHEN v.completed_at IS NULL THEN e.lease_expires_at END"]
    return (
        f"WITH v AS MATERIALIZED (SELECT * FROM {run}),"
        f" ours AS MATERIALIZED (SELECT id FROM {table} WHERE id IN (SELECT id FROM v) ORDER BY id FOR NO KEY UPDATE),"
        f" written AS (UPDATE {table} AS e SET {', '.join(sets)} FROM v JOIN ours USING (id)"
        f" WHERE e.id = v.id AND {_FENCE} RETURNING e.id),"
        f" events AS ({_insert_of_written(ExecutionEvent, _EVENT_COLUMNS)}),"
        f" transitions AS ({_insert_of_written(PhaseTransition, _TRANSITION_COLUMNS)})"
        f" SELECT id, CASE WHEN v.parent_run_id IS NOT NULL THEN {RING_SQL.format('v.parent_run_id')} END"
        " FROM written JOIN v USING (id)"
    )


def _insert_of_written(model: type[Model], columns: Sequence[str]) -> str:
    rows = _recordset(model, columns)
    return (
        f"INSERT INTO {_into(model, columns)} SELECT n.* FROM {rows} AS n JOIN written ON written.id = n.execution_id"
    )


def _recordset(model: type[Model], columns: Sequence[str], **others: str) -> str:
    types = {column: str(model._meta.get_field(column).db_type(connection)) for column in columns} | others
    return f"(SELECT * FROM json_to_recordset(%s) AS r({', '.join(map(' '.join, types.items()))}))"


def _write(writes: Sequence[RunWrite]) -> set[int]:
    """As `_write_at_once`, for SQLite, where nothing is a round trip."""
    with transaction.atomic():
        advanced = _advance([write for write in writes if write.state.outcome is None])
        advanced |= {write.run.pk for write in writes if write.state.outcome is not None and _end(write)}
        _insert_rows([write for write in writes if write.run.pk in advanced])
        return advanced


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
    sets = ", ".join(f"{column} = v.new_{column}" for column in _ADVANCE_COLUMNS)
    news = ", ".join(f"new_{column}" for column in _ADVANCE_COLUMNS)
    return (
        f"WITH v(pk, attempt, expected_seq, expected_phase_count, {news})"
        f" AS (VALUES {_rows(columns, rows)})"
        f" UPDATE {AgentExecution._meta.db_table} AS e SET {sets} FROM v WHERE e.id = v.pk AND {_FENCE}"
        " RETURNING id"
    )


def _end(write: RunWrite) -> bool:
    """Ends a run that is still ours; False if it is not."""
    state, outcome = write.state, write.state.outcome
    assert outcome is not None
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


def _insert_rows(writes: Sequence[RunWrite]) -> None:
    """Events and transitions, one statement for each: executemany would give up and take the interpreter's lock once a
    row."""
    adapt = connection.ops.adapt_datetimefield_value
    events: list[Any] = []
    transitions: list[Any] = []
    for write in writes:
        for frame in write.frames:
            events += (write.run.pk, frame.seq, frame.type, frame.text, adapt(frame.at))
        for step in write.transitions:
            transitions += (write.run.pk, step.ordinal, step.from_phase.value, step.to_phase.value)
            transitions += (adapt(step.at), step.duration_ms, step.event_seq)
    _insert(ExecutionEvent, _EVENT_COLUMNS, events)
    _insert(PhaseTransition, _TRANSITION_COLUMNS, transitions)


def _insert(model: type[Model], columns: tuple[str, ...], parameters: Sequence[Any]) -> None:
    if parameters:
        with connection.cursor() as cursor:
            cursor.execute(_insert_sql(model, columns, len(parameters) // len(columns)), parameters)


@lru_cache(maxsize=2048)
def _insert_sql(model: type[Model], columns: tuple[str, ...], rows: int) -> str:
    return f"INSERT INTO {_into(model, columns)} VALUES {_rows(columns, rows)}"


def _into(model: type[Model], columns: Sequence[str]) -> str:
    return f"{model._meta.db_table} ({', '.join(columns)})"


def _rows(columns: Sequence[str], rows: int) -> str:
    """Placeholders of a VALUES list."""
    return ", ".join([f"({', '.join(['%s'] * len(columns))})"] * rows)
