from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from notifications import credentials
from notifications.models import AccessToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LIFETIME = timedelta(hours=1)
FIRST_USER = "admin"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

TEXT = """
  Log in as {username} (this link works once, within the hour):

      {link}

  Again later      {manage} login_link
  A password       {manage} changepassword {username}
  More people      {manage} createsuperuser, or Users in {base}/admin/
  For programs     {manage} create_token USERNAME --create-user
"""


class Command(BaseCommand):
    help = (
        "Prints a link that logs a user in once, without a password. Without USERNAME: the first superuser; "
        f"where there is none, {FIRST_USER!r} is made."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("username", metavar="USERNAME", nargs="?")
        parser.add_argument("--base-url", help="Where people reach this server. Default: from HOST and PORT.")

    def handle(self, *, username: str | None, base_url: str | None, **_options: Any) -> None:
        with transaction.atomic():
            user = named_user(username) if username else first_superuser()
            secret = credentials.issue(user, AccessToken.Kind.LOGIN_LINK, lifetime=LIFETIME)
        base = (base_url or local_url()).rstrip("/")
        self.stdout.write(
            TEXT.format(username=user.get_username(), link=f"{base}/login/{secret}/", base=base, manage=manage())
        )


def named_user(username: str) -> User:
    user = get_user_model().objects.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user {username!r}. Make one with `{manage()} createsuperuser`.")
    if not user.is_active:
        raise CommandError(f"The user {username!r} is not active and cannot log in.")
    return user


def first_superuser() -> User:
    users = get_user_model().objects
    user = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if user is not None:
        return user
    if users.filter(username=FIRST_USER).exists():
        raise CommandError(
            f"There is no active superuser, and {FIRST_USER!r} is not one. "
            f"Say whom the link is for: `{manage()} login_link USERNAME`."
        )
    return users.create_superuser(FIRST_USER)  # without a password that works


def local_url() -> str:
    host = ANY_ADDRESS.get(settings.HOST, settings.HOST)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{settings.PORT}"


def manage() -> str:
    """How manage.py was called, to be copied."""
    python = Path(os.path.relpath(sys.executable))
    return f"{'python' if python.is_relative_to('..') else python} manage.py"
