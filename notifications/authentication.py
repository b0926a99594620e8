"""Who opens a socket: by API token, by ticket, or by the session cookie of a page of our own."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from notifications.credentials import authenticate_token, redeem
from notifications.models import AccessToken


def authenticate(scope: dict[str, Any]) -> int | None:
    """The key of the user whose credentials a WebSocket handshake carries; None: refuse it. Sync, reads the database.

    A cookie counts only from an allowed Origin, because browsers send it along from anywhere.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme:
        user = authenticate_token(secret.strip()) if scheme.lower() == "bearer" else None
    elif tickets := parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket"):
        user = redeem(AccessToken.Kind.TICKET, tickets[0])
    elif is_allowed_origin(headers.get("origin", ""), headers.get("host", "")):
        user = _user_of_session(headers.get("cookie", ""))
    else:
        user = None
    return user.pk if user is not None and user.is_active else None


def is_allowed_origin(origin: str, host: str) -> bool:
    """Whether a page of that Origin may use the cookie: pages of this host, and CSRF_TRUSTED_ORIGINS."""
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS) and urlsplit(origin).netloc == host


def _user_of_session(cookie: str) -> Any:
    try:
        morsel = SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    if morsel is None:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(morsel.value)
    user = get_user(request)
    return user if user.is_authenticated else None
