"""One database and one Redis, two web processes: it does not matter to which of them a socket is connected."""

from __future__ import annotations

import pytest

from netra.testing.laws import require_lawful, require_legal_phases, require_record_is_log, require_view_is_log
from netra.testing.server import RunningNetra
from netra.testing.worker import RunningWorker

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_run_is_seen_whole_from_both_processes(postgresql_server, redis_server, tmp_path):
    servers = {"DATABASE_URL": postgresql_server.create_database(), "REDIS_URL": redis_server.url}
    with (
        RunningNetra(tmp_path, **servers) as first,
        RunningWorker(first),
        first.beside(tmp_path / "second", "uvicorn") as second,
        first.connect() as mine,
        second.connect() as other,
    ):
        run_id = mine.start_run({"tool": "echo", "arguments": {"text": "a\0b"}}, {"emit": 40, "rate": 200})["run_id"]

        log = mine.finish(run_id)
        require_lawful(log)
        require_view_is_log(other.finish(run_id), log)
        require_view_is_log(log, first.logged(run_id))
        require_legal_phases(second.transitions(run_id), log)
        require_record_is_log(second.run_row(run_id), log)
        assert first.rows("SELECT 1 AS one FROM agents_agentexecution WHERE run_id = ?", run_id) == [{"one": 1}]
