"""Who opens a socket: by API token, by ticket, or by the session cookie of a page of our own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from notifications.credentials import find_token, redeem, unexpired
from notifications.models import AccessToken


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Whose socket it is, and on what grounds: a session or an API token; of a ticket, what it was got with."""

    user_id: int
    session_key: str | None = None
    token_id: int | None = None


def authenticate(scope: dict[str, Any]) -> Credential | None:
    """The credential that a WebSocket handshake carries; None: refuse it. Sync, reads the database."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    tickets = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket")
    if tickets and "authorization" not in headers:
        return _by_ticket(tickets[0])
    return authenticate_headers(headers)


def authenticate_headers(headers: Mapping[str, str]) -> Credential | None:
    """By `authorization`, else by `cookie`; names in small letters.

    A cookie counts only from an allowed Origin, because browsers send it along from anywhere.
    """
    if "authorization" in headers:
        scheme, _, secret = headers["authorization"].partition(" ")
        return _by_token(secret.strip()) if scheme.lower() == "bearer" else None
    if is_allowed_origin(headers.get("origin", ""), headers.get("host", "")):
        return _by_session(headers.get("cookie", ""))
    return None


def find_ended(credentials: Collection[Credential]) -> set[Credential]:
    """Those that do not count any more: logged out, expired, revoked, or of a user who may not log in. Sync."""
    users = {credential.user_id for credential in credentials}
    active = set(get_user_model().objects.filter(pk__in=users, is_active=True).values_list("pk", flat=True))
    tokens = {credential.token_id for credential in credentials if credential.token_id is not None}
    good = set(AccessToken.objects.filter(unexpired(), pk__in=tokens).values_list("pk", flat=True))
    return {
        credential
        for credential in credentials
        if credential.user_id not in active
        or (credential.token_id is not None and credential.token_id not in good)
        or (credential.session_key is not None and _user_of_session(credential.session_key) != credential.user_id)
    }


def is_allowed_origin(origin: str, host: str) -> bool:
    """Whether a page of that Origin may use the cookie: pages of this host, and CSRF_TRUSTED_ORIGINS."""
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(host)
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:  # it is no URL
        return False
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS) and netloc == host


def _by_ticket(secret: str) -> Credential | None:
    ticket = redeem(AccessToken.Kind.TICKET, secret)
    if ticket is None:
        return None
    return Credential(user_id=ticket.user_id, session_key=ticket.session_key or None, token_id=ticket.api_token_id)


def _by_token(secret: str) -> Credential | None:
    token = find_token(secret)
    return Credential(user_id=token.user_id, token_id=token.pk) if token is not None else None


def _by_session(cookie: str) -> Credential | None:
    try:
        morsel = SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    user_id = _user_of_session(morsel.value) if morsel is not None else None
    return Credential(user_id=user_id, session_key=morsel.value) if morsel is not None and user_id else None


def _user_of_session(session_key: str) -> int | None:
    """Who is logged in by this session, if it is good and its user may log in."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user.pk if user.is_authenticated and user.is_active else None
