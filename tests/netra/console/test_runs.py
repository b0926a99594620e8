from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from agents.ids import Prefix, new_id
from agents.models import AgentExecution, Approval
from tests.runs import make_claim, make_user, read_run, register_run

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_agentexecution_changelist")


@pytest.fixture
def operator():
    return get_user_model().objects.create_superuser("op", password="pw")


@pytest.fixture
def console(operator, client: Client) -> Client:
    client.force_login(operator)
    return client


def act(console: Client, action: str, *run_ids: str) -> str:
    """Selects runs, applies the action, and returns the page that follows."""
    keys = AgentExecution.objects.filter(run_id__in=run_ids).values_list("pk", flat=True)
    answer = console.post(LIST, {"action": action, "_selected_action": list(keys)}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def end(run_id: str) -> None:
    AgentExecution.objects.filter(run_id=run_id).update(
        status="failed", phase="failed", completed_at=datetime.now(UTC), completed_seq=1, last_seq=1
    )


def test_cancelling_asks_for_it_and_keeps_who_did(console, operator):
    run = register_run(make_user()).run_id

    page = act(console, "cancel_runs", run)

    assert "1 to be cancelled." in page
    assert read_run(run).cancel_requested_at is not None
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr, entry.change_message) == (operator, run, "Cancel asked for.")


def test_a_run_that_has_ended_is_left_alone_and_that_is_said(console):
    live, ended = register_run(make_user()).run_id, register_run(make_user()).run_id
    end(ended)

    page = act(console, "cancel_runs", live, ended)

    assert "1 to be cancelled." in page
    assert "1 had ended already: nothing was changed there." in page
    assert read_run(live).cancel_requested_at is not None
    assert read_run(ended).cancel_requested_at is None


def test_who_may_only_look_cannot_cancel(client):
    viewer = get_user_model().objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_agentexecution"))
    client.force_login(viewer)
    run = register_run(make_user()).run_id

    page = act(client, "cancel_runs", run)

    assert "to be cancelled" not in page
    assert read_run(run).cancel_requested_at is None


def test_who_may_operate_can_cancel(client):
    staff = get_user_model().objects.create_user("staff", is_staff=True)
    names = ["view_agentexecution", "operate_agentexecution"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(staff)
    run = register_run(make_user()).run_id

    assert "1 to be cancelled." in act(client, "cancel_runs", run)
    assert read_run(run).cancel_requested_at is not None


def ask(*, seconds: float = 60) -> Approval:
    claim = make_claim()
    now = datetime.now(UTC)
    return Approval.objects.create(
        approval_id=new_id(Prefix.APPROVAL),
        execution_id=claim.run.pk,
        key="k",
        reason="<b>Shall I?</b>",
        arguments='{"to": "bob"}',
        requested_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )


def answer(console: Client, action: str, *approvals: Approval) -> str:
    keys = [approval.pk for approval in approvals]
    page = console.post(
        reverse("admin:agents_approval_changelist"), {"action": action, "_selected_action": keys}, follow=True
    )
    return page.content.decode()


@pytest.mark.parametrize(("action", "decision"), [("approve", "approved"), ("reject", "rejected")])
def test_an_operator_answers_for_the_user_and_it_is_kept_who_did(console, operator, action, decision):
    open_one, late = ask(), ask(seconds=-1)

    page = answer(console, action, open_one, late)

    assert "1 answered." in page
    assert "not open any more" in page
    for approval in (open_one, late):
        approval.refresh_from_db()
    assert (open_one.decision, open_one.resolved_by, late.decision) == (decision, operator, "")
    assert LogEntry.objects.get().object_id == str(open_one.pk)


def test_who_may_only_look_answers_nothing(client):
    staff = get_user_model().objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename="view_approval"))
    client.force_login(staff)
    approval = ask()

    assert "answered" not in answer(client, "approve", approval)
    approval.refresh_from_db()
    assert approval.decision == ""


def test_the_page_of_an_approval_shows_what_was_asked_as_text(console):
    page = console.get(reverse("admin:agents_approval_change", args=[ask().pk])).content.decode()

    assert "&lt;b&gt;Shall I?&lt;/b&gt;" in page
    assert "<b>Shall I?</b>" not in page
