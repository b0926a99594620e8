"""Agents, threads and approvals over HTTP."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agents.approvals import Question, open_approval
from agents.models import AgentExecution, Approval, ExecutionEvent, Thread
from agents.registry import get_agent_registry
from notifications.credentials import issue
from notifications.models import AccessToken
from tests.runs import make_claim, make_user, register_run

pytestmark = pytest.mark.django_db

ORIGIN = "http://localhost"


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def client(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def end(*run_ids: str) -> None:
    AgentExecution.objects.filter(run_id__in=run_ids).update(
        status="completed", phase="completed", completed_at=timezone.now(), completed_seq=0
    )


def titles(client: Client, **query: Any) -> list[str]:
    return [thread["title"] for thread in client.get("/api/v1/threads", query).json()["threads"]]


def rename(client: Client, thread_id: str, body: object, origin: str = ORIGIN) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return client.patch(
        f"/api/v1/threads/{thread_id}", text, "application/json", headers={"host": "localhost", "origin": origin}
    )


def delete(client: Client, thread_id: str, origin: str = ORIGIN) -> Any:
    return client.delete(f"/api/v1/threads/{thread_id}", headers={"host": "localhost", "origin": origin})


def test_the_agents_are_listed(client: Client):
    agents = client.get("/api/v1/agents").json()["agents"]

    assert [agent["name"] for agent in agents] == [agent.name for agent in get_agent_registry().agents()]
    assert all(agent["description"] for agent in agents)


def test_threads_come_by_their_latest_run(client: Client, ada: User):
    old = register_run(ada.pk, message="The old one")
    register_run(ada.pk, message="The new one")
    assert titles(client) == ["The new one", "The old one"]

    register_run(ada.pk, message="Once more", thread_id=old.thread_id)

    assert titles(client) == ["The old one", "The new one"]


def test_a_thread_says_what_goes_on_in_it(client: Client, ada: User):
    first = register_run(ada.pk)
    second = register_run(ada.pk, thread_id=first.thread_id)
    end(first.run_id)

    (thread,) = client.get("/api/v1/threads").json()["threads"]

    assert (thread["thread_id"], thread["live"], thread["last_status"]) == (first.thread_id, 1, "pending")
    end(second.run_id)
    (thread,) = client.get("/api/v1/threads").json()["threads"]
    assert (thread["live"], thread["last_status"]) == (0, "completed")


def test_pages_of_threads_neither_overlap_nor_leave_any_out(client: Client, ada: User):
    for number in range(5):
        register_run(ada.pk, message=f"Thread {number}")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}

    while query.get("before", True):
        page = client.get("/api/v1/threads", query).json()
        seen += [thread["title"] for thread in page["threads"]]
        query["before"] = page["next"]

    assert seen == [f"Thread {number}" for number in (4, 3, 2, 1, 0)]


def test_search_finds_titles(client: Client, ada: User):
    for message in ("Sales of the north", "100% of it", "Weather"):
        register_run(ada.pk, message=message)

    assert titles(client, q=" north ") == ["Sales of the north"]
    assert titles(client, q="SALES") == ["Sales of the north"]
    assert titles(client, q="0%") == ["100% of it"]
    assert titles(client, q="nothing of the kind\0") == []


def test_a_thread_has_its_latest_runs_oldest_first(client: Client, ada: User):
    first = register_run(ada.pk, message="One", params={"table": "a,b", "api_key": "s3cret"})
    for message in ("Two", "Three"):
        register_run(ada.pk, message=message, thread_id=first.thread_id)

    page = client.get(f"/api/v1/threads/{first.thread_id}", {"limit": 2}).json()
    rest = client.get(f"/api/v1/threads/{first.thread_id}", {"limit": 2, "before": page["next"]}).json()

    assert [run["message"] for run in page["runs"]] == ["Two", "Three"]
    assert [run["message"] for run in rest["runs"]] == ["One"]
    assert rest["next"] is None
    assert rest["runs"][0]["params"] == {"table": "a,b", "api_key": "[redacted]"}
    assert rest["title"] == "One"


def test_runs_bring_the_runs_that_they_started(client: Client, ada: User):
    parent = above = register_run(ada.pk, message="Parent")
    for message in ("Child", "Grandchild"):
        child = register_run(ada.pk, message=message, thread_id=parent.thread_id)
        AgentExecution.objects.filter(run_id=child.run_id).update(
            parent=AgentExecution.objects.get(run_id=above.run_id)
        )
        above = child

    page = client.get(f"/api/v1/threads/{parent.thread_id}", {"limit": 1}).json()

    messages = {run["run_id"]: run["message"] for run in page["runs"]}
    assert [(run["message"], messages.get(run["parent_run_id"])) for run in page["runs"]] == [
        ("Parent", None),
        ("Child", "Parent"),
        ("Grandchild", "Child"),
    ]
    assert page["next"] is None


def test_a_thread_is_renamed(client: Client, ada: User):
    run = register_run(ada.pk)

    answer = rename(client, run.thread_id, {"title": "  Plans \n for\t spring "})

    assert (answer.status_code, answer.json()["title"]) == (200, "Plans for spring")
    assert titles(client) == ["Plans for spring"]


NO_TITLES: dict[str, object] = {
    "no_json": "{",
    "list": [],
    "nothing": {},
    "number": {"title": 1},
    "blank": {"title": " "},
    "nul": {"title": "\0"},
    "long": {"title": "x" * 121},
    "misspelt": {"titel": "x"},
    "huge": "x" * 20_000,
}


@pytest.mark.parametrize("body", NO_TITLES.values(), ids=NO_TITLES)
def test_a_title_that_is_none(client: Client, ada: User, body: object):
    run = register_run(ada.pk)

    answer = rename(client, run.thread_id, body)

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "invalid_message", "title")
    assert titles(client) == ["Go."]


def test_a_deleted_thread_takes_its_runs_along(client: Client, ada: User):
    run, other = register_run(ada.pk), register_run(ada.pk, message="Stays")
    execution = AgentExecution.objects.get(run_id=run.run_id)
    ExecutionEvent.objects.create(execution=execution, seq=1, type="agent_thinking", frame="{}", at=timezone.now())
    end(run.run_id)

    assert delete(client, run.thread_id).status_code == 204

    assert not ExecutionEvent.objects.exists()
    assert [each.run_id for each in AgentExecution.objects.all()] == [other.run_id]
    assert titles(client) == ["Stays"]
    assert delete(client, run.thread_id).status_code == 404


def test_a_thread_with_a_live_run_is_not_deleted(client: Client, ada: User):
    run = register_run(ada.pk)

    answer = delete(client, run.thread_id)

    assert (answer.status_code, answer.json()["code"]) == (409, "busy")
    assert Thread.objects.filter(thread_id=run.thread_id).exists()


@pytest.mark.parametrize("whose", ["somebody else's", "nobody's", "no id"])
def test_a_thread_that_is_not_yours_is_not_there(client: Client, whose: str):
    run = register_run(make_user())
    end(run.run_id)
    thread_id = {"somebody else's": run.thread_id, "nobody's": f"{run.thread_id[:-1]}0", "no id": "x"}[whose]

    answers = [
        client.get(f"/api/v1/threads/{thread_id}"),
        rename(client, thread_id, {"title": "Mine"}),
        delete(client, thread_id),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}
    assert titles(client) == []
    assert Thread.objects.get().title == "Go."


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"limit": "9" * 5000}, {"before": "x"}]
)
def test_a_page_that_is_none(client: Client, ada: User, query: dict[str, str]):
    run = register_run(ada.pk)

    for path in ("/api/v1/threads", f"/api/v1/threads/{run.thread_id}"):
        answer = client.get(path, query)
        assert (answer.status_code, answer.json()["field"]) == (400, next(iter(query)))


def test_a_cursor_of_somebody_else_is_none(client: Client):
    answer = client.get("/api/v1/threads", {"before": register_run(make_user()).run_id})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_strangers_get_nothing(ada: User):
    run = register_run(ada.pk)
    stranger = Client()

    for path in ("agents", "threads", f"threads/{run.thread_id}"):
        answer = stranger.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    assert delete(stranger, run.thread_id).status_code == 403


def test_pages_of_other_origins_change_nothing(client: Client, ada: User):
    run = register_run(ada.pk)
    end(run.run_id)

    for origin in ("https://evil.example", "null", ""):
        assert delete(client, run.thread_id, origin).status_code == 403
        assert rename(client, run.thread_id, {"title": "Evil"}, origin).status_code == 403
    assert titles(client) == ["Go."]


def test_a_token_does_what_a_session_does(ada: User):
    run = register_run(ada.pk)
    end(run.run_id)
    program = Client(headers={"authorization": f"Bearer {issue(ada, AccessToken.Kind.API_TOKEN)}"})

    assert titles(program) == ["Go."]
    assert delete(program, run.thread_id, origin="").status_code == 204
    assert Client(headers={"authorization": "Bearer wrong"}).get("/api/v1/threads").status_code == 403


APPROVE = {"decision": "approve"}


@pytest.fixture
def approval(ada: User) -> dict[str, str]:
    """Of a run of Ada's: where it is answered, and its ids."""
    run = make_claim(ada.pk).run
    question = Question(reason="May I?", tool_name=None, arguments={"to": "bob"}, seconds=60.0)
    approval_id = open_approval(run, key="k", question=question).approval_id
    path = f"/api/v1/runs/{run.run_id}/approvals/{approval_id}"
    return {"path": path, "run_id": run.run_id, "approval_id": approval_id}


def resolve(client: Client, path: str, body: object, origin: str = ORIGIN) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(path, text, "application/json", headers={"host": "localhost", "origin": origin})


def test_an_approval_is_answered(client: Client, ada: User, approval: dict[str, str]):
    said = {"decision": "approve", "arguments": {"to": "eve"}, "comment": "Rather her."}

    answer = resolve(client, approval["path"], said)

    ids = {"run_id": approval["run_id"], "approval_id": approval["approval_id"]}
    assert (answer.status_code, answer.json()) == (200, {**ids, "decision": "approved"})
    row = Approval.objects.get()
    assert (json.loads(row.edited), row.comment, row.resolved_by_id) == ({"to": "eve"}, "Rather her.", ada.pk)
    late = resolve(client, approval["path"], {"decision": "reject"})
    assert (late.status_code, late.json()["code"]) == (409, "approval_closed")


def test_a_token_answers_as_a_session_does(ada: User, approval: dict[str, str]):
    program = Client(headers={"authorization": f"Bearer {issue(ada, AccessToken.Kind.API_TOKEN)}"})

    assert resolve(program, approval["path"], {"decision": "reject"}, origin="").json()["decision"] == "rejected"


def test_an_approval_that_is_not_yours_is_not_there(client: Client, approval: dict[str, str]):
    path = approval["path"]
    mine = register_run(User.objects.get(username="ada").pk).run_id
    client.force_login(User.objects.create_user("eve"))
    answers = [resolve(client, path, APPROVE)]
    client.force_login(User.objects.get(username="ada"))
    answers += [
        resolve(client, path.replace(approval["run_id"], mine), APPROVE),
        resolve(client, path[:-1], APPROVE),
        resolve(client, f"/api/v1/runs/x/approvals/{approval['approval_id']}", APPROVE),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}
    assert Approval.objects.get().decision == ""


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ("", 400, "invalid_json", None),
        (b"\xff", 400, "invalid_json", None),
        ([], 400, "invalid_message", None),
        ({}, 400, "invalid_message", "decision"),
        ({"decision": "maybe"}, 400, "invalid_message", "decision"),
        ({**APPROVE, "arguments": [1]}, 400, "invalid_message", "arguments"),
        ({**APPROVE, "comment": "x" * 2_001}, 400, "invalid_message", "comment"),
        ({**APPROVE, "argument": {}}, 400, "invalid_message", "argument"),
        ({**APPROVE, "arguments": {"a": "x" * 70_000}}, 413, "message_too_large", None),
        ({**APPROVE, "arguments": {"a": "x" * 3_000_000}}, 413, "message_too_large", None),
        (
            f'{{"decision": "approve", "arguments": {{"a": {"[" * 100}{"]" * 100}}}}}',
            400,
            "invalid_message",
            "arguments",
        ),
    ],
    ids=["nothing", "bytes", "list", "empty", "maybe", "arguments", "comment", "unknown", "large", "huge", "deep"],
)
def test_an_answer_that_is_none(
    client: Client, approval: dict[str, str], body: object, status: int, code: str, field: str | None
):
    answer = resolve(client, approval["path"], body)

    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (status, code, field)
    assert Approval.objects.get().decision == ""


def test_strangers_and_pages_of_other_origins_answer_nothing(client: Client, approval: dict[str, str]):
    answers = [resolve(client, approval["path"], APPROVE, origin) for origin in ("https://evil.example", "null", "")]
    answers.append(resolve(Client(), approval["path"], APPROVE))

    assert {answer.status_code for answer in answers} == {403}
    assert Approval.objects.get().decision == ""


def test_other_methods_are_told_which_there_are(client: Client):
    answer = client.post("/api/v1/threads")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert client.head("/api/v1/threads").status_code == 200
