"""What /metrics tells, of real runs and of a database that hangs, and that docs/metrics.md tells the same."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import REGISTRY

from agents.census import AGES, Census, read_census
from agents.database import in_database
from agents.models import AgentExecution
from netra import metrics, services  # noqa: F401 - all that a server has is imported
from netra.metrics import Metrics, Runs
from netra.operations import may_read_metrics
from netra.testing.server import ROOT
from tests.netra.test_operations import ask
from tests.runs import Workshop, claim_runs, make_user, register_run, until

DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


def values(text: bytes) -> dict[str, float]:
    """Samples by name and labels, as they stand in the text."""
    families = text_string_to_metric_families(text.decode())
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def counted():
    """How much a metric of this process has grown since the test began."""
    before = values(generate_latest(REGISTRY))
    return lambda name: values(generate_latest(REGISTRY))[name] - before.get(name, 0.0)


@pytest.fixture
async def measured(transactional_db: None) -> AsyncIterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


def test_the_document_tells_of_each_metric_and_of_no_other():
    runs = Runs()
    runs.census = Census(pending=0, running=0, waiting=0, longest_wait=0.0, older_than=dict.fromkeys(AGES, 0))
    families = [*REGISTRY.collect(), *runs.collect()]
    exported = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in families
        if family.name.startswith("netra_")
    }

    assert exported == set(re.findall(r"^\| `(netra_\w+)(?:\{\w+\})?` \| (\w+) \|", DOCUMENT, re.MULTILINE))


def test_every_condition_of_the_document_is_about_metrics_that_exist():
    conditions = "".join(re.findall(r"^\| `([^`]+ > [^`]+)` \|", DOCUMENT, re.MULTILINE))
    named = set(re.findall(r"netra_\w+", conditions))
    samples = {name.partition("{")[0] for name in values(generate_latest(REGISTRY))}
    of_runs = {f"netra_{name}" for name in ("runs_lacking_completion", "queue_longest_wait_seconds")}

    assert len(named) == 5
    assert named <= samples | of_runs


async def test_what_a_run_writes_is_counted(transactional_db, counted):
    workshop = Workshop()

    async def think(context):
        await context.think("I am thinking.")
        return "done"

    log = await workshop.run(think)
    await workshop.close()

    assert counted("netra_events_committed_total") == counted("netra_commit_events_sum") == len(log) == 4
    assert counted("netra_commit_seconds_count") == counted("netra_commit_events_count") > 0
    assert counted("netra_runs_ended_total{status=completed}") == 1
    assert counted("netra_runs_ended_total{status=failed}") == 0


@pytest.mark.django_db
def test_the_census_counts_runs_that_are_not_over_by_status_and_age():
    for _ in range(3):
        register_run(make_user())
    claim_runs(slots=1)
    ages = [0, 90, 4000]
    for age, run in zip(ages, AgentExecution.objects.order_by("-pk"), strict=True):
        AgentExecution.objects.filter(pk=run.pk).update(created_at=NOW - timedelta(seconds=age))

    assert read_census(NOW) == Census(
        pending=3, running=0, waiting=2, longest_wait=90.0, older_than={0: 3, 60: 2, 300: 1, 900: 1, 3600: 1}
    )


@pytest.mark.django_db
def test_runs_that_ended_are_not_looked_at():
    run = register_run(make_user()).run_id
    AgentExecution.objects.filter(run_id=run).update(
        status="lost", phase="lost", completed_at=NOW, last_seq=1, completed_seq=F("last_seq") + 1
    )

    assert read_census(NOW).older_than == dict.fromkeys(AGES, 0)


@pytest.mark.django_db
def test_the_census_needs_no_more_than_the_index_of_the_ends(django_assert_num_queries):
    with django_assert_num_queries(1) as queries:
        read_census(NOW)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' * (connection.vendor == 'sqlite')}{queries[0]['sql']}")
        plan = " ".join(str(row) for row in cursor.fetchall())

    assert "execution_ended" in plan


async def test_many_who_ask_cost_one_census(measured, monkeypatch):
    asked = 0

    def count(now: datetime) -> Census:
        nonlocal asked
        asked += 1
        return read_census(now)

    monkeypatch.setattr(metrics, "read_census", count)
    await in_database(register_run, await in_database(make_user))
    texts = await asyncio.gather(*(measured.read() for _ in range(10)))

    assert asked == 1
    for text in texts:
        found = values(text)
        assert (found["netra_runs_readable"], found["netra_queue_length"]) == (1, 1)
        assert found["netra_runs_lacking_completion{older_than=0}"] == 1


async def test_a_database_that_hangs_keeps_nothing_back_but_its_own_numbers(measured, monkeypatch):
    monkeypatch.setattr(metrics, "PATIENCE_SECONDS", 0.05)
    gate = threading.Event()
    hanging = asyncio.ensure_future(measured._thread.call(gate.wait))

    try:
        for _ in range(2):
            found = values(await measured.read())
            assert found["netra_runs_readable"] == 0
            assert "netra_queue_length" not in found
            assert "netra_loop_lag_seconds_count" in found
    finally:
        gate.set()
    await hanging
    await until(lambda: measured._reading is not None and measured._reading.done())
    assert values(await measured.read())["netra_runs_readable"] == 1


# ─ who may read


@pytest.mark.parametrize(
    ("client", "headers", "allowed"),
    [
        (["127.0.0.1", 1], {}, True),
        (["::1", 1], {}, True),
        (["10.0.0.7", 1], {}, False),
        (None, {}, False),
        (["127.0.0.1", 1], {b"x-forwarded-for": b"127.0.0.1"}, False),
        (["127.0.0.1", 1], {b"via": b"1.1 proxy"}, False),
    ],
)
def test_without_a_token_this_machine_may_read_and_nobody_by_a_proxy(client, headers, allowed):
    assert may_read_metrics({"client": client, "headers": list(headers.items())}, "") is allowed


@pytest.mark.parametrize(
    ("sent", "allowed"), [("Bearer good", True), ("Bearer bad", False), ("good", False), ("Bearer gööd", False)]
)
def test_with_a_token_who_has_it_may_read_from_anywhere(sent, allowed):
    for client in (["127.0.0.1", 1], ["10.0.0.7", 1]):
        headers = [(b"authorization", sent.encode()), (b"x-forwarded-for", b"1.2.3.4")]
        assert may_read_metrics({"client": client, "headers": headers}, "good") is allowed
    assert not may_read_metrics({"client": ["127.0.0.1", 1], "headers": []}, "good")


# ─ a real server


@pytest.mark.e2e
def test_a_server_tells_of_its_sockets_and_runs(netra, netra_chat):
    netra_chat.run({"think": "Hm."})
    status, body, headers = ask(netra, "/metrics")
    found = values(body)

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found["netra_sockets"] >= 1
    assert found["netra_runs_ended_total{status=completed}"] >= 1
    assert found["netra_run_wait_seconds_count"] >= 1
    assert found["netra_loop_lag_seconds_count"] >= 1
    assert found["netra_runs_readable"] == 1
    assert found["process_resident_memory_bytes"] > 0
