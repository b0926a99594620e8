"""What `/metrics` answers: the counters of this process, and the numbers of runs from the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from agents.census import Census, read_census
from agents.database import OwnThread

CENSUS_SECONDS: Final = 5.0
"""However many ask, the database is not asked more often."""
PATIENCE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5

LOOP_LAG_SECONDS: Final = Histogram(
    "netra_loop_lag_seconds",
    f"How late the event loop came back to a task that slept, looked at every {LOOK_SECONDS} s.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)

log = structlog.get_logger(__name__)


async def watch_loop() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        LOOP_LAG_SECONDS.observe(max(0.0, loop.time() - due))


class Runs(Collector):
    """The families of a census. Without one it says so and leaves them out: an old number would look like a new one."""

    census: Census | None = None

    def collect(self) -> Iterator[Metric]:
        readable = "1: the numbers of runs were read from the database; 0: they could not be, and are left out."
        yield GaugeMetricFamily("netra_runs_readable", readable, value=self.census is not None)
        if (census := self.census) is None:
            return
        runs = GaugeMetricFamily("netra_runs", "Runs that have not ended.", labels=["status"])
        runs.add_metric(["pending"], census.pending)
        runs.add_metric(["running"], census.running)
        yield runs
        said = "Runs whose agent_completed is not in the log, older than so many seconds."
        lacking = GaugeMetricFamily("netra_runs_lacking_completion", said, labels=["older_than"])
        for age, count in census.older_than.items():
            lacking.add_metric([str(age)], count)
        yield lacking
        yield GaugeMetricFamily("netra_queue_length", "Runs that nobody has begun yet.", value=census.waiting)
        said = "How long the one of them has waited that has waited longest."
        yield GaugeMetricFamily("netra_queue_longest_wait_seconds", said, value=census.longest_wait)


class Metrics:
    """Belongs to the event loop that serves; asks the database on a thread of its own, and only when it is asked."""

    def __init__(self) -> None:
        self._runs = Runs()
        self._of_runs = CollectorRegistry()
        self._of_runs.register(self._runs)
        self._thread = OwnThread("metrics")
        self._reading: asyncio.Task[None] | None = None
        self._read_at = float("-inf")

    async def read(self) -> bytes:
        """All metrics in Prometheus' text format; also those that agents register with prometheus-client themselves."""
        if time.monotonic() - self._read_at > CENSUS_SECONDS:
            await self._refresh()
        return generate_latest(REGISTRY) + generate_latest(self._of_runs)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._thread.close()

    async def _refresh(self) -> None:
        """Waits for the database for a while only; a query that hangs goes on alone, and no second one is sent."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._take_census(), name="census")
        done, _ = await asyncio.wait({self._reading}, timeout=PATIENCE_SECONDS)
        if not done:
            self._runs.census = None

    async def _take_census(self) -> None:
        try:
            self._runs.census = await self._thread.call(read_census, datetime.now(UTC))
        except Exception as error:  # whatever it is, the other metrics are wanted all the more
            log.warning("no census of the runs", error=repr(error))
            self._runs.census = None
        else:
            self._read_at = time.monotonic()
