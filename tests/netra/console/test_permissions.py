"""Every address of the console, and who may open it."""

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import URLPattern, URLResolver

from agents.ids import Prefix, new_id
from agents.models import AgentExecution, Approval, ExecutionEvent, OperatorAction
from notifications.models import AccessToken
from tests.runs import make_user, read_run, register_run

pytestmark = pytest.mark.django_db

RUNS, CONTENT, OPERATE, EXPORT = (
    "view_agentexecution",
    "view_content",
    "operate_agentexecution",
    "export_agentexecution",
)
NOBODY = frozenset({"nobody"})
"""Not even a superuser: records are neither made nor changed by hand."""
STAFF: frozenset[str] = frozenset()

NEEDED = {
    "index": STAFF,
    "login": STAFF,
    "logout": STAFF,
    "password_change": STAFF,
    "password_change_done": STAFF,
    "autocomplete": NOBODY,
    "jsi18n": STAFF,
    "view_on_site": NOBODY,
    "app_list": {RUNS},
    "": NOBODY,
    "agents_agentexecution_changelist": {RUNS},
    "agents_agentexecution_change": {RUNS},
    "agents_agentexecution_live": {RUNS},
    "agents_agentexecution_history": {RUNS},
    "agents_agentexecution_frame": {RUNS, CONTENT},
    "agents_agentexecution_replay": {RUNS, CONTENT},
    "agents_agentexecution_act cancel": {RUNS, OPERATE},
    "agents_agentexecution_act end": {RUNS, OPERATE},
    "agents_agentexecution_act hand_over": {RUNS, OPERATE},
    "agents_agentexecution_act retry": {RUNS, OPERATE},
    "agents_agentexecution_act export": {RUNS, EXPORT},
    "agents_agentexecution_add": NOBODY,
    "agents_agentexecution_delete": NOBODY,
    "agents_approval_changelist": {"view_approval"},
    "agents_approval_change": {"view_approval"},
    "agents_approval_history": {"view_approval"},
    "agents_approval_add": NOBODY,
    "agents_approval_delete": NOBODY,
    "agents_thread_changelist": {"view_thread"},
    "agents_thread_change": {"view_thread"},
    "agents_thread_history": {"view_thread"},
    "agents_thread_add": NOBODY,
    "agents_thread_delete": NOBODY,
    "agents_operatoraction_changelist": {"view_operatoraction"},
    "agents_operatoraction_change": {"view_operatoraction"},
    "agents_operatoraction_history": {"view_operatoraction"},
    "agents_operatoraction_add": NOBODY,
    "agents_operatoraction_delete": NOBODY,
    "auth_group_changelist": {"view_group"},
    "auth_group_change": {"view_group"},
    "auth_group_history": {"view_group"},
    "auth_group_add": {"add_group"},
    "auth_group_delete": {"delete_group"},
    "auth_user_changelist": {"view_user"},
    "auth_user_change": {"view_user"},
    "auth_user_history": {"view_user"},
    "auth_user_add": {"add_user", "change_user"},
    "auth_user_delete": {"delete_user"},
    "auth_user_password_change": {"change_user"},
    "notifications_accesstoken_changelist": {"view_accesstoken"},
    "notifications_accesstoken_change": {"view_accesstoken"},
    "notifications_accesstoken_history": {"view_accesstoken"},
    "notifications_accesstoken_add": {"add_accesstoken"},
    "notifications_accesstoken_delete": {"delete_accesstoken"},
}
"""Which permissions open which page, by its name in urls (and the action). A page that is not in it fails the test."""

ALL = sorted({codename for needed in NEEDED.values() for codename in needed} - NOBODY)
REDIRECTS = {"login", "logout", "password_change_done"}


def patterns(entries: list[URLPattern | URLResolver], route: str = "") -> Iterator[tuple[str, str]]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from patterns(entry.url_patterns, route + str(entry.pattern))
        elif entry.pattern.regex.pattern != r"^.+$" and "<path:object_id>/$" not in str(entry.pattern):
            yield entry.name or "", route + str(entry.pattern)


def pages() -> dict[str, str]:
    """Every page's address, with places for keys, by its name."""
    found: dict[str, str] = {}
    for name, route in patterns(admin.site.urls[0]):
        if name == "agents_agentexecution_act":
            for action in ("cancel", "end", "hand_over", "retry", "export"):
                found[f"{name} {action}"] = route.replace("<str:action>", action)
        elif name != "" or "(?P<url>" in route:
            found.setdefault(name, route)
    return found


_numbers = itertools.count(1)


class Records:
    """One of each, with secrets wherever contents are."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        run = read_run(register_run(make_user(), message="Secret plan", params={"key": "Secret table"}).run_id)
        AgentExecution.objects.filter(pk=run.pk).update(error_message="Secret failure", error_code="e", last_seq=1)
        ExecutionEvent.objects.create(
            execution=run, seq=1, type="agent_thinking", at=now, frame='{"data":{"reasoning":"Secret thought"}}'
        )
        approval = Approval.objects.create(
            approval_id=new_id(Prefix.APPROVAL),
            execution=run,
            key="k",
            reason="Secret reason",
            tool_name="Secret tool",
            arguments='{"to":"Secret friend"}',
            comment="Secret comment",
            requested_at=now,
            expires_at=now + timedelta(minutes=1),
        )
        noted = OperatorAction.objects.create(
            by_id=1, by_name="op", action="end", run_id=run.run_id, reason="It hangs.", applied=True, outcome="Ended."
        )
        group = Group.objects.create(name="g")
        token = AccessToken.objects.create(user=run.user, kind=AccessToken.Kind.API_TOKEN, digest="d", label="l")
        self.keys = {
            "agents_agentexecution": run.pk,
            "agents_approval": approval.pk,
            "agents_thread": run.thread_id,
            "agents_operatoraction": noted.pk,
            "auth_group": group.pk,
            "auth_user": run.user_id,
            "notifications_accesstoken": token.pk,
        }

    def address(self, name: str, route: str) -> str:
        key = next((str(key) for model, key in self.keys.items() if name.startswith(model)), "1")
        route = route.replace("<int:seq>", "1").replace("<path:content_type_id>/<path:object_id>", "1/1")
        route = re.sub(r"^\^|\$$|\(\?P<app_label>.*?\)", lambda found: "agents" if "app" in found[0] else "", route)
        route = re.sub(r"\(\?P<url>.*\)", "nowhere", route)
        return "/admin/" + re.sub(r"<(?:int|path|str|id):?\w*>", key, route)


@pytest.fixture
def records() -> Records:
    return Records()


def as_staff(client: Client, *codenames: str) -> Client:
    user = get_user_model().objects.create_user(f"staff-{next(_numbers)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def opens(client: Client, name: str, address: str) -> bool:
    answer = client.get(address)
    assert answer.status_code in {200, 302, 403, 404, 405}, address
    if answer.status_code == 302 and name not in REDIRECTS:
        assert not answer.headers["Location"].startswith("/admin/login"), address
    return answer.status_code in {200, 302, 405}


def test_every_page_of_the_console_has_its_place_in_the_table():
    assert set(pages()) == set(NEEDED)


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_page_opens_with_the_permissions_that_it_needs_and_with_no_fewer(client, records, name):
    address, needed = records.address(name, pages()[name]), NEEDED[name]
    if needed == NOBODY:
        client.force_login(get_user_model().objects.create_superuser("super"))
        assert not opens(client, name, address)
        assert client.post(address, {"post": "yes"}).status_code in {403, 404, 405}
        return
    assert opens(as_staff(client, *needed), name, address)
    for left_out in needed:
        others = [codename for codename in ALL if codename != left_out]
        if name.startswith(("auth_", "notifications_")):
            others = []  # Django's own pages, where one permission may stand for another
        if name == "app_list":
            others = [codename for codename in others if not codename.startswith("view_")]
        assert not opens(as_staff(client, *others), name, address), left_out


@pytest.mark.parametrize("name", sorted(set(NEEDED) - {"login", "logout"}))
@pytest.mark.parametrize("is_logged_in", [True, False])
def test_who_is_not_staff_is_sent_to_the_door(client, records, name, is_logged_in):
    if is_logged_in:
        user = get_user_model().objects.create_user("user")
        user.user_permissions.set(Permission.objects.filter(codename__in=ALL))
        client.force_login(user)

    answer = client.get(records.address(name, pages()[name]))

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


SAYING = [name for name, needed in sorted(NEEDED.items()) if needed != NOBODY and CONTENT not in needed]


@pytest.mark.parametrize("name", SAYING)
def test_without_view_content_no_page_says_what_was_said(client, records, name):
    others = [codename for codename in ALL if codename != CONTENT]

    page = as_staff(client, *others).get(records.address(name, pages()[name]), {"q": "secret"}, follow=True)

    assert "Secret" not in page.content.decode()


def test_the_first_page_tells_of_runs_only_who_may_see_them(client, records):
    told = {
        RUNS in codenames: "Workers and their leases" in as_staff(client, *codenames).get("/admin/").content.decode()
        for codenames in (["view_thread", OPERATE], [RUNS])
    }

    assert told == {True: True, False: False}


def test_a_thread_is_not_found_by_a_title_that_may_not_be_seen(client, records):
    found = {}
    for codenames in (["view_thread"], ["view_thread", CONTENT]):
        page = as_staff(client, *codenames).get("/admin/agents/thread/", {"q": "Secret"}).content.decode()
        found[len(codenames)] = "thread_0" in page

    assert found == {1: False, 2: True}


@pytest.mark.parametrize("action", ["cancel", "end", "hand_over", "retry", "export"])
def test_who_may_only_look_does_nothing(client, records, action):
    key = records.keys["agents_agentexecution"]
    as_staff(client, RUNS, CONTENT)
    form = {"reason": "I want to.", "form_id": "f", "format": "csv"}

    alone = client.post(f"/admin/agents/agentexecution/{key}/act/{action}/", form)
    in_list = client.post("/admin/agents/agentexecution/", {**form, "action": action, "_selected_action": [key]})

    assert alone.status_code == 403
    assert not in_list.streaming
    assert OperatorAction.objects.count() == 1
    assert AgentExecution.objects.get(pk=key).cancel_requested_at is None
    assert AgentExecution.objects.get(pk=key).completed_at is None
