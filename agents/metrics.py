"""What this process counts of the runs that it executes. Read by Prometheus: docs/metrics.md."""

from typing import Final

from prometheus_client import Counter, Histogram

from agents.phases import TERMINAL, status_of

EVENTS_COMMITTED: Final = Counter("netra_events_committed", "Events written to the log by this process.")
COMMIT_SECONDS: Final = Histogram(
    "netra_commit_seconds",
    "How long one transaction of the journal took, as those wait for it whose events are in it.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
COMMIT_EVENTS: Final = Histogram(
    "netra_commit_events", "Events in one transaction of the journal.", buckets=(0, 1, 2, 5, 10, 25, 50, 100, 250, 500)
)
COMMITS_RETRIED: Final = Counter("netra_commits_retried", "Transactions tried again because the database was away.")
RUNS_ENDED: Final = Counter("netra_runs_ended", "Runs that this process brought to their end.", ["status"])
RUN_WAIT_SECONDS: Final = Histogram(
    "netra_run_wait_seconds",
    "How long runs had waited when this process began them.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)

for _phase in sorted(TERMINAL):
    RUNS_ENDED.labels(status_of(_phase).value)  # so that it reads 0, and its first rise is seen
