import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from agents.registry import get_agent_registry
from notifications import csp
from notifications.credentials import issue
from notifications.models import AccessToken

pytestmark = pytest.mark.django_db

STATIC = Path(csp.__file__).parent / "static"


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ada", password="analytical engine")


def link_for(user: User, *, lifetime: timedelta = timedelta(hours=1)) -> str:
    return f"/login/{issue(user, AccessToken.Kind.LOGIN_LINK, lifetime=lifetime)}/"


def is_logged_in(client: Client) -> bool:
    request = HttpRequest()
    request.session = client.session
    return get_user(request).is_authenticated


def directives(response: Any) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response.headers[csp.HEADER].split(";"))
    return {name: value for name, _, value in parts}


def test_the_chat_asks_strangers_to_log_in(client: Client):
    response = client.get("/")

    assert response.status_code == 302
    assert response.headers["Location"] == "/accounts/login/?next=/"


def test_the_chat_offers_the_agents(client: Client, user: User):
    client.force_login(user)

    html = client.get("/").content.decode()

    found = re.search(r'<script id="agents-data" type="application/json">(.*?)</script>', html)
    assert found is not None
    agents = json.loads(found[1])
    assert [agent["name"] for agent in agents] == [agent.name for agent in get_agent_registry().agents()]
    assert all(agent.keys() == {"name", "description"} for agent in agents)


def test_the_chat_is_kept_by_no_cache(client: Client, user: User):
    client.force_login(user)

    assert "no-store" in client.get("/").headers["Cache-Control"]


def test_no_page_has_inline_script_or_style(client: Client, user: User):
    pages = [client.get("/accounts/login/"), client.get("/login/unknown/")]
    client.force_login(user)
    pages.append(client.get("/"))

    for page in pages:
        html = page.content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
        scripts = re.findall(r"<script([^>]*)>", html)
        assert all("src=" in script or 'type="application/json"' in script for script in scripts)


def test_the_page_asks_at_once_for_every_module_that_its_script_imports(client: Client, user: User):
    client.force_login(user)

    html = client.get("/").content.decode()

    asked = re.findall(r'<link rel="modulepreload" href="/static/([^"]+)">', html)
    assert sorted(asked) == sorted(imported_by("notifications/chat.js", set()))


def imported_by(module: str, known: set[str]) -> set[str]:
    """That module, and all that it imports, however far away."""
    if module not in known:
        known.add(module)
        for name in re.findall(r'(?:from|import) "(\./[^"]+)"', (STATIC / module).read_text()):
            imported_by(os.path.normpath(Path(module).parent / name), known)
    return known


def test_a_log_in_link_logs_in_once(client: Client, user: User):
    link = link_for(user)

    response = client.get(link)

    assert response.status_code == 302
    assert response.headers["Location"] == "/"
    assert is_logged_in(client)
    second = Client()
    assert second.get(link).status_code == 410
    assert not is_logged_in(second)


@pytest.mark.parametrize("what", ["unknown", "expired", "of an inactive user"])
def test_a_link_that_is_not_valid_says_how_to_get_another(client: Client, user: User, what: str):
    link = link_for(user, lifetime=timedelta(hours=-1 if what == "expired" else 1))
    if what == "unknown":
        link = "/login/nobody-made-this/"
    elif what == "of an inactive user":
        User.objects.filter(pk=user.pk).update(is_active=False)

    response = client.get(link)

    assert response.status_code == 410
    assert "manage.py login_link" in response.content.decode()
    assert not is_logged_in(client)


@pytest.mark.parametrize("kind", [AccessToken.Kind.API_TOKEN, AccessToken.Kind.TICKET])
def test_no_other_secret_is_a_log_in_link(client: Client, user: User, kind: AccessToken.Kind):
    secret = issue(user, kind, lifetime=timedelta(hours=1))

    assert client.get(f"/login/{secret}/").status_code == 410
    assert not is_logged_in(client)


def test_looking_at_a_link_does_not_use_it_up(client: Client, user: User):
    link = link_for(user)

    assert client.head(link).status_code == 405
    assert client.get(link).status_code == 302


def test_the_secret_of_a_link_stays_in_no_cache_and_no_referrer(client: Client, user: User):
    for response in (client.get(link_for(user)), client.get("/login/unknown/")):
        assert "no-store" in response.headers["Cache-Control"]
        assert response.headers["Referrer-Policy"] == "no-referrer"


def test_logging_in_with_a_password_leads_to_the_chat(client: Client, user: User):
    response = client.post("/accounts/login/", {"username": "ada", "password": "analytical engine"})

    assert response.headers["Location"] == "/"
    assert client.get("/accounts/login/").headers["Location"] == "/"  # nothing to do there any more


def test_a_wrong_password_is_said_so(client: Client, user: User):
    response = client.post("/accounts/login/", {"username": "ada", "password": "wrong"})

    assert 'role="alert"' in response.content.decode()
    assert not is_logged_in(client)


def test_logging_out_takes_a_post(client: Client, user: User):
    client.force_login(user)

    assert client.get("/accounts/logout/").status_code == 405
    assert is_logged_in(client)
    assert client.post("/accounts/logout/").status_code == 302
    assert not is_logged_in(client)


def test_the_policy_allows_this_host_and_nothing_else(client: Client):
    assert directives(client.get("/accounts/login/", headers={"host": "localhost:8000"})) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self' ws://localhost:8000 wss://localhost:8000",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


def test_the_chat_lets_no_script_write_html_but_the_sanitiser(client: Client, user: User):
    client.force_login(user)

    policy = directives(client.get("/"))

    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "dompurify"


async def test_the_policy_is_there_under_asgi(async_client: AsyncClient):
    response = await async_client.get("/accounts/login/")

    assert directives(response)["default-src"] == "'none'"


def test_a_forged_host_gets_no_place_in_the_policy(rf: RequestFactory):
    policy = csp.policy(rf.get("/", headers={"host": "evil.example"}))

    assert "evil.example" not in policy


def middleware(status: int = 200, headers: dict[str, str] | None = None) -> Callable[[HttpRequest], Any]:
    return csp.ContentSecurityPolicyMiddleware(lambda _: HttpResponse(status=status, headers=headers))


def test_a_policy_that_a_view_brings_is_kept(rf: RequestFactory):
    response = middleware(headers={csp.HEADER: "default-src 'self'"})(rf.get("/"))

    assert response.headers[csp.HEADER] == "default-src 'self'"


@pytest.mark.parametrize(("debug", "expected"), [(True, False), (False, True)])
def test_only_djangos_debug_pages_go_without(rf: RequestFactory, settings: Any, debug: bool, expected: bool):
    settings.DEBUG = debug

    response = middleware(500)(rf.get("/"))

    assert (csp.HEADER in response.headers) is expected


def test_the_middleware_is_async_exactly_when_what_it_wraps_is():
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(csp.ContentSecurityPolicyMiddleware(view))
    assert not iscoroutinefunction(middleware())
