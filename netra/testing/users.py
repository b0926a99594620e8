"""What a Netra for tests has before it starts: tables, static files, and users with tokens, made by one manage.py."""

from __future__ import annotations

import json
from typing import Final
from uuid import uuid4

import msgspec

STRANGERS: Final = 20
"""Users are made so many at a time: starting manage.py takes longer than making them."""
PREPARE: Final = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
"""
MAKE_USERS: Final = """
import json
from django.contrib.auth import get_user_model
from django.db import transaction
from notifications.credentials import issue
from notifications.models import AccessToken
with transaction.atomic():
    users = [get_user_model().objects.create_user(name) for name in {names!r}]
    tokens = [issue(user, AccessToken.Kind.API_TOKEN) for user in users]
print(json.dumps([[user.username, str(user.pk), token] for user, token in zip(users, tokens)]))
"""


class User(msgspec.Struct, frozen=True):
    """Somebody with an API token; `id` is the user_id of protocol.md."""

    name: str
    id: str
    token: str


def new_names() -> list[str]:
    return [f"user-{uuid4()}" for _ in range(STRANGERS)]


def command(*names: str, with_tables: bool = False) -> list[str]:
    """The arguments of a manage.py that makes these users, and the tables and static files first if so told."""
    return ["shell", "--verbosity", "0", "--command", PREPARE * with_tables + MAKE_USERS.format(names=names)]


def read(printed: str) -> list[User]:
    """Whom that manage.py made."""
    return [User(*user) for user in json.loads(printed.splitlines()[-1])]
