"""Runs as files."""

import csv
import io
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import AsyncClient
from django.urls import reverse

from agents.database import in_database
from agents.models import AgentExecution, OperatorAction
from tests.runs import Workshop

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:agents_agentexecution_changelist")


@pytest.fixture
async def runs(workshop: Workshop) -> list[str]:
    """Two that have ended."""

    async def answer(context):
        await context.think("Secret thought")
        return "Secret answer"

    workshop.add_agent(answer)
    claims = [await workshop.claim(message=message) for message in ("Secret plan", "Secret wish")]
    for claim in claims:
        await workshop.execute(claim)
    return [claim.run.run_id for claim in claims]


def make_staff(*codenames: str):
    user = get_user_model().objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_agentexecution", *codenames]))
    return user


async def export(format_: str, *codenames: str, across: str = "1", query: str = "") -> tuple[str, str]:
    """The file's name and text, of all runs of the list."""
    client = AsyncClient()
    await client.aforce_login(await in_database(make_staff, "export_agentexecution", *codenames))
    keys = await in_database(lambda: list(AgentExecution.objects.values_list("pk", flat=True)[:1]))
    form = {"action": "export", "_selected_action": keys, "select_across": across, "format": format_}
    answer: Any = await client.post(LIST + query, {**form, "reason": "For the report.", "form_id": "f1"})
    assert answer.status_code == 200
    assert answer.streaming
    text = b"".join([part async for part in answer]).decode()
    await sync_to_async(lambda: connection.close())()  # noqa: PLW0108 - the connection of the thread that answered
    return answer["Content-Disposition"], text


async def test_json_lines_have_the_runs_with_their_events_as_their_clients_saw_them(runs, workshop):
    name, text = await export("jsonl", "view_content")

    lines = [json.loads(line) for line in text.splitlines()]
    assert name.endswith('.jsonl"')
    assert [line["run_id"] for line in lines if line["kind"] == "run"] == runs
    for run_id in runs:
        frames = [line["frame"] for line in lines if line["kind"] == "event" and line["run_id"] == run_id]
        assert frames == workshop.bridge.frames(run_id)
    assert lines[0]["request"]["message"] == "Secret plan"
    assert lines[0]["result"]["output"] == "Secret answer"


async def test_csv_has_a_row_for_each_run(runs):
    _, text = await export("csv", "view_content")

    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run_id"] for row in rows] == runs
    assert [row["status"] for row in rows] == ["completed", "completed"]
    assert "Secret plan" in rows[0]["request"]


async def test_no_cell_of_csv_is_a_formula(runs):
    said = ["\n=1+1", "\uff20SUM(1)"]
    for run_id, text in zip(runs, said, strict=True):
        await AgentExecution.objects.filter(run_id=run_id).aupdate(error_message=text)
    ada = await get_user_model().objects.acreate(username="+ada@example")
    await AgentExecution.objects.aupdate(user=ada)

    _, text = await export("csv", "view_content")

    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["error_message"] for row in rows] == [f"'{text}" for text in said]
    assert [row["user"] for row in rows] == ["'+ada@example"] * 2


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
async def test_without_view_content_a_file_says_nothing_of_what_runs_say(runs, format_):
    _, text = await export(format_)

    assert all(run_id in text for run_id in runs)
    assert "Secret" not in text


async def test_an_export_of_those_that_were_chosen_is_noted_with_their_names(runs):
    await export("csv", across="0")

    noted = await in_database(OperatorAction.objects.get)
    latest = runs[-1]
    assert (noted.action, noted.run_id, noted.reason) == ("export", latest, "For the report.")
    assert noted.outcome == f"{latest}, as csv, without contents."


async def test_an_export_of_a_list_is_noted_with_its_filter(runs):
    _, text = await export("jsonl", query="?status__exact=failed")

    assert text == ""
    assert (await in_database(OperatorAction.objects.get)).outcome.startswith(
        "All runs of the list (status__exact=failed)"
    )
