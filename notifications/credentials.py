"""Issues the secrets that people and programs show to Netra, and tells whose they are."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import OperationalError
from django.db.models import Q, QuerySet
from django.utils import timezone

from notifications.models import AccessToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User

API_TOKEN_PREFIX = "netra_"  # noqa: S105 - so that a leaked token can be recognised
LAST_USED_PRECISION = timedelta(minutes=1)


def issue(
    user: User,
    kind: AccessToken.Kind,
    label: str = "",
    *,
    lifetime: timedelta | None = None,
    session_key: str = "",
    api_token_id: int | None = None,
) -> str:
    """Returns the secret: now, and never again. `lifetime` None: an API token that never expires.

    `session_key` or `api_token_id`: what a ticket is got with.
    """
    now = timezone.now()
    _sweep(user, now)
    secret = new_secret(kind)
    expires_at = now + lifetime if lifetime is not None else None
    AccessToken.objects.create(
        user=user,
        kind=kind,
        label=label,
        digest=digest(secret),
        expires_at=expires_at,
        session_key=session_key,
        api_token_id=api_token_id,
    )
    return secret


def redeem(kind: AccessToken.Kind, secret: str) -> AccessToken | None:
    """Uses a single-use secret up and returns what it was. None: unknown, used, expired, or the user is inactive.

    Of two who redeem the same secret at the same time, one gets it.
    """
    token = _valid(kind, secret).filter(user__is_active=True).select_related("user").first()
    if token is None:
        return None
    deleted, _ = AccessToken.objects.filter(pk=token.pk).delete()
    return token if deleted else None


def find_token(secret: str) -> AccessToken | None:
    """The API token with this secret, if it counts; notes that it was used."""
    valid = _valid(AccessToken.Kind.API_TOKEN, secret).filter(user__is_active=True)
    token = valid.select_related("user").first()
    if token is not None:
        _note_use(token)
    return token


def new_secret(kind: AccessToken.Kind) -> str:
    """256 random bits that nobody knows yet."""
    prefix = API_TOKEN_PREFIX if kind == AccessToken.Kind.API_TOKEN else ""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def unexpired() -> Q:
    return Q(expires_at=None) | Q(expires_at__gt=timezone.now())


def _valid(kind: AccessToken.Kind, secret: str) -> QuerySet[AccessToken]:
    return AccessToken.objects.filter(unexpired(), kind=kind, digest=digest(secret))


def _sweep(user: User, now: datetime) -> None:
    """Single-use secrets that were never used do not pile up. Expired API tokens stay to be seen."""
    unused = AccessToken.objects.filter(user=user, expires_at__lte=now)
    unused.exclude(kind=AccessToken.Kind.API_TOKEN).delete()


def _note_use(token: AccessToken) -> None:
    """At most once a minute: a busy token costs no write per request."""
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - LAST_USED_PRECISION:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PRECISION)
    with contextlib.suppress(OperationalError):  # a note is not worth refusing anybody while the database is locked
        AccessToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
