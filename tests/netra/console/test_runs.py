from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from agents.ids import Prefix, new_id
from agents.models import Approval
from tests.runs import make_claim

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_agentexecution_changelist")


@pytest.fixture
def operator():
    return get_user_model().objects.create_superuser("op", password="pw")


@pytest.fixture
def console(operator, client: Client) -> Client:
    client.force_login(operator)
    return client


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


def answer(console: Client, action: str, *approvals: Approval, query: str = "") -> str:
    keys = [approval.pk for approval in approvals]
    address = reverse("admin:agents_approval_changelist")
    page = console.post(f"{address}{query}", {"action": action, "_selected_action": keys}, follow=True)
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


def test_who_comes_too_late_is_told_so_in_a_list_of_open_ones_too(console):
    approval = ask()
    answer(console, "reject", approval)

    page = answer(console, "approve", approval, query="?decision=expired")

    assert f"This approval has been decided already. ({approval.approval_id})" in page


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
