"""How long the console's pages take, of whatever is in the database: `python -m tests.benchmarks.console`.

Fill it before, with `manage.py generate_runs`. Prints a table in Markdown: the server's time in milliseconds, from the
request to the last byte of the answer, and the indexes that its queries go by.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from typing import Any

LIST = "/admin/agents/agentexecution/"
TIMES = 7


def pages() -> dict[str, str]:
    from agents.models import AgentExecution  # noqa: PLC0415 - Django is set up by now

    run = AgentExecution.objects.filter(status="completed").select_related("thread", "user").latest("pk")
    live = AgentExecution.objects.live().latest("pk")
    filters = (
        *("agent_completed=lacking", "agent_completed=sent", "reason=frozen", "reason=lease_expired", "reason=queued"),
        *("reason=behind", "status=completed", "status=failed", "status=lost", "status=running", "phase=thinking"),
        *("phase=awaiting_approval", f"agent_name={run.agent_name}", "agent_name=nobody", "tier=enterprise"),
        *("tier=free", "age=over-10s", "age=over-1h", "age=under-15m", "age=under-7d", "attempt=again"),
        *("status=failed&tier=enterprise&attempt=again", "o=9", "p=20"),
    )
    searches = {"run": run.run_id, "thread": run.thread.thread_id, "correlation id": run.correlation_id}
    return {
        "dashboard": "/admin/",
        "list": LIST,
        **{f"list, {filter_}": f"{LIST}?{filter_}" for filter_ in filters},
        **{f"search by {what}": f"{LIST}?q={term}" for what, term in searches.items()},
        "search by user": f"{LIST}?q={run.user}",
        "search for nobody": f"{LIST}?q=nobody-at-all",
        "one run, ended": f"{LIST}{run.pk}/change/",
        "one run, live": f"{LIST}{live.pk}/change/",
    }


def measure(client: Any, path: str) -> tuple[float, float]:
    """The first time, and the median of TIMES more."""
    taken = []
    for _ in range(TIMES + 1):
        begun = time.perf_counter()
        answer = client.get(path)
        len(answer.content)
        taken.append((time.perf_counter() - begun) * 1_000)
        assert answer.status_code == 200, (path, answer.status_code)
    return taken[0], statistics.median(taken[1:])


def indexes(client: Any, path: str) -> str:
    """What the page's queries read the large tables by; a table in brackets is read as it lies, up to a limit."""
    from django.db import connection  # noqa: PLC0415 - as above
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415 - as above

    with CaptureQueriesContext(connection) as asked:
        client.get(path)
    found: dict[str, None] = {}
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    for query in asked.captured_queries:
        if query["sql"].startswith("SELECT") and re.search(
            r"agents_(agentexecution|executionevent|phase)", query["sql"]
        ):
            with connection.cursor() as cursor:
                cursor.execute(explain + query["sql"].replace("%", "%%"), [])
                plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
            for index in re.findall(r"(?:Index (?:Only )?Scan(?: Backward)? using|INDEX|Index Scan on) (\w+)", plan):
                found[index] = None
            for table in re.findall(r"(?:Seq Scan on|SCAN) (agents_\w+)(?! USING)", plan):
                found[f"({table})"] = None
    return ", ".join(found)


def main() -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - as above
    from django.test import Client  # noqa: PLC0415 - as above

    name = "who-measures-the-console"
    admin = get_user_model().objects.filter(username=name).first() or get_user_model().objects.create_superuser(name)
    client = Client(headers={"host": "localhost"})
    client.force_login(admin)
    client.get("/admin/")
    print("| page | first, ms | median, ms | found by |\n|---|---|---|---|")
    for what, path in pages().items():
        first, median = measure(client, path)
        print(f"| {what} | {first:.0f} | {median:.0f} | {indexes(client, path)} |", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netra.settings")
    import django

    django.setup()
    main()
