from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client

from notifications import authentication
from notifications.authentication import find_ended, is_allowed_origin
from notifications.credentials import issue
from notifications.models import AccessToken

pytestmark = pytest.mark.django_db

HOST, ORIGIN = "localhost:8000", "http://localhost:8000"


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada", password="pw")


def scope_of(query: str = "", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "websocket", "headers": named, "query_string": query.encode()}


def authenticate(scope: dict[str, Any]) -> int | None:
    credential = authentication.authenticate(scope)
    return None if credential is None else credential.user_id


@pytest.fixture
def cookie(ada):
    client = Client()
    client.force_login(ada)
    return f"other=1; sessionid={client.cookies['sessionid'].value}"


def test_a_token_opens_a_socket_from_anywhere(ada):
    token = issue(ada, AccessToken.Kind.API_TOKEN)

    assert authenticate(scope_of(authorization=f"Bearer {token}")) == ada.pk
    assert authenticate(scope_of(authorization=f"bearer {token}", origin="https://evil.example")) == ada.pk


def test_a_ticket_opens_one_socket(ada):
    ticket = issue(ada, AccessToken.Kind.TICKET, lifetime=timedelta(seconds=30))

    assert authenticate(scope_of(query=f"ticket={ticket}")) == ada.pk
    assert authenticate(scope_of(query=f"ticket={ticket}")) is None


@pytest.mark.parametrize("got_with", ["token", "cookie"])
def test_a_tickets_socket_ends_with_what_it_was_got_with(ada, cookie, got_with):
    secret = issue(ada, AccessToken.Kind.API_TOKEN)
    shown = {
        "token": {"authorization": f"Bearer {secret}"},
        "cookie": {"cookie": cookie, "host": HOST, "origin": ORIGIN},
    }
    ticket = Client().post("/api/v1/tickets", headers=shown[got_with]).json()["ticket"]
    credential = authentication.authenticate(scope_of(query=f"ticket={ticket}"))
    assert credential is not None

    assert find_ended({credential}) == set()
    if got_with == "token":
        AccessToken.objects.filter(kind="api_token").delete()
    else:
        Session.objects.all().delete()
    assert find_ended({credential}) == {credential}


def test_a_ticket_is_void_when_its_token_is_revoked(ada):
    secret = issue(ada, AccessToken.Kind.API_TOKEN)
    ticket = Client().post("/api/v1/tickets", headers={"authorization": f"Bearer {secret}"}).json()["ticket"]

    AccessToken.objects.filter(kind="api_token").delete()

    assert authenticate(scope_of(query=f"ticket={ticket}")) is None


def test_a_cookie_opens_a_socket_from_a_page_of_ours(ada, cookie):
    assert authenticate(scope_of(host=HOST, origin=ORIGIN, cookie=cookie)) == ada.pk


@pytest.mark.parametrize(
    "origin",
    ["", "null", "https://evil.example", "http://localhost:9000", "http://localhost", "http://localhost:8000.evil"],
)
def test_a_cookie_from_another_origin_opens_nothing(cookie, origin):
    assert authenticate(scope_of(host=HOST, origin=origin, cookie=cookie)) is None


def test_a_cookie_without_an_origin_opens_nothing(cookie):
    assert authenticate(scope_of(host=HOST, cookie=cookie)) is None


def test_a_host_that_is_not_ours_makes_no_origin_ours(cookie):
    assert authenticate(scope_of(host="evil.example", origin="http://evil.example", cookie=cookie)) is None


def test_a_trusted_origin_may_use_the_cookie(settings, ada, cookie):
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example"]

    assert authenticate(scope_of(host=HOST, origin="https://chat.example", cookie=cookie)) == ada.pk


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer netra_wrong"},
        {"authorization": "Basic YTpi"},
        {"authorization": "\xff\xfe"},
        {"host": HOST, "origin": ORIGIN, "cookie": "sessionid=wrong"},
        {"host": HOST, "origin": ORIGIN, "cookie": "a\x00;;;=\xff"},
        {"host": HOST, "origin": "http://[", "cookie": "sessionid=x"},
        {"host": "[", "origin": ORIGIN, "cookie": "sessionid=x"},
    ],
)
def test_what_proves_nothing_opens_nothing(headers):
    assert authenticate(scope_of(**headers)) is None


def test_a_wrong_token_is_not_made_good_by_a_cookie(cookie):
    scope = scope_of(host=HOST, origin=ORIGIN, cookie=cookie, authorization="Bearer netra_wrong")

    assert authenticate(scope) is None


def test_a_user_who_is_not_active_opens_nothing(ada, cookie):
    token = issue(ada, AccessToken.Kind.API_TOKEN)
    ada.is_active = False
    ada.save()

    assert authenticate(scope_of(authorization=f"Bearer {token}")) is None
    assert authenticate(scope_of(host=HOST, origin=ORIGIN, cookie=cookie)) is None


def test_an_origin_is_compared_with_the_host_as_a_whole():
    assert is_allowed_origin(ORIGIN, HOST)
    assert not is_allowed_origin(ORIGIN, "")
    assert not is_allowed_origin("", "")
