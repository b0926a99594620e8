"""Fills a PostgreSQL with the history of a large system: `DATABASE_URL=… python -m tests.benchmarks.history 1000000`.

Rows are made by the database itself: a million runs with 10 events and 9 transitions each take some minutes.
"""

from __future__ import annotations

import os
import sys
from typing import Final

RUNS_OF_A_USER: Final = 200
LIVE: Final = 500
"""Of all runs, these have not ended: half of them wait, half of them go on."""
SLICE: Final = 50_000

THREADS: Final = """
INSERT INTO agents_thread (thread_id, user_id, title, created_at)
SELECT 'thread_' || lpad(n::text, 26, '0'), 1 + n %% %(users)s, 'A thread', now() - n * interval '1 second'
FROM generate_series(1, %(threads)s) n
"""
USERS: Final = """
INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT 'user-' || n, '!', false, '', '', '', false, true, now() FROM generate_series(1, %(users)s) n
"""
RUNS: Final = """
INSERT INTO agents_agentexecution (run_id, thread_id, user_id, agent_name, request_id, request, status, phase, attempt,
    restartable, owner, lease_expires_at, last_progress_at, deadline_at, last_seq, phase_count, completed_seq, tier,
    timeout, correlation_id, result, error_code, error_message, warnings, created_at, started_at, completed_at)
SELECT 'run_' || lpad(n::text, 26, '0'), 1 + n %% %(threads)s, 1 + n %% %(users)s, 'agent-' || n %% 20, 'r' || n,
    '{"agent":"analyst","message":"Which region sold most?"}', state.status, state.phase, 1, false,
    CASE WHEN state.status = 'pending' THEN '' ELSE 'worker_' || n %% 8 END,
    CASE WHEN state.status = 'running' THEN now() + interval '1 hour' END, moment,
    CASE WHEN state.status <> 'pending' THEN moment + interval '40 seconds' END,
    CASE WHEN state.status = 'pending' THEN 0 WHEN is_live THEN 4 ELSE 10 END,
    CASE WHEN state.status = 'pending' THEN 0 WHEN is_live THEN 4 ELSE 9 END,
    CASE WHEN is_live THEN NULL ELSE 10 END, 'free', 40, 'corr_' || n, CASE WHEN is_live THEN '' ELSE '{}' END,
    CASE WHEN state.status = 'failed' THEN 'internal' ELSE '' END, '', '[]', moment, moment,
    CASE WHEN is_live THEN NULL ELSE moment + interval '5 seconds' END
FROM generate_series(%(first)s, %(last)s) n
CROSS JOIN LATERAL (
    SELECT n > %(runs)s - %(live)s AS is_live, now() - (%(runs)s - n) * interval '10 seconds' AS moment
) t
CROSS JOIN LATERAL (
    SELECT CASE WHEN is_live AND n %% 2 = 0 THEN 'pending' WHEN is_live THEN 'running'
        WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END AS status
) s
CROSS JOIN LATERAL (
    SELECT s.status,
        CASE s.status WHEN 'pending' THEN 'created' WHEN 'running' THEN 'thinking' ELSE s.status END AS phase
) state
"""
EVENTS: Final = """
INSERT INTO agents_executionevent (execution_id, seq, type, frame, at)
SELECT run.id, seq, CASE WHEN seq = 10 THEN 'agent_completed' WHEN seq = 1 THEN 'agent_started'
    ELSE 'agent_thinking' END, '{"type":"agent_thinking","data":{"reasoning":"Hm."}}', run.created_at
FROM agents_agentexecution run CROSS JOIN LATERAL generate_series(1, run.last_seq) seq
WHERE run.id BETWEEN %(first)s AND %(last)s
"""
TRANSITIONS: Final = """
INSERT INTO agents_phasetransition (execution_id, ordinal, from_phase, to_phase, at, duration_ms, event_seq)
SELECT run.id, ordinal, 'thinking', 'tool_preparation', run.created_at, 1, ordinal
FROM agents_agentexecution run CROSS JOIN LATERAL generate_series(1, run.phase_count) ordinal
WHERE run.id BETWEEN %(first)s AND %(last)s
"""
TABLES: Final = (
    "auth_user",
    "agents_thread",
    "agents_agentexecution",
    "agents_executionevent",
    "agents_phasetransition",
)


def fill(runs: int) -> None:
    """Writes so many runs into a database that has been migrated and is empty, and has its statistics made."""
    from django.db import connection  # noqa: PLC0415 - Django is set up by now

    users = max(10, runs // RUNS_OF_A_USER)
    numbers = {"runs": runs, "users": users, "threads": max(10, runs // 4), "live": min(LIVE, runs // 10)}
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(USERS, numbers)
        cursor.execute(THREADS, numbers)
        for first in range(1, runs + 1, SLICE):
            part = numbers | {"first": first, "last": min(runs, first + SLICE - 1)}
            for statement in (RUNS, EVENTS, TRANSITIONS):
                cursor.execute(statement, part)
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute("RESET statement_timeout")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netra.settings")
    import django

    django.setup()
    fill(int(sys.argv[1]))
