from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from notifications import credentials
from notifications.models import AccessToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Command(BaseCommand):
    help = "Makes an API token of a user and prints it, alone, on standard output. It cannot be shown again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("username", metavar="USERNAME")
        parser.add_argument("--create-user", action="store_true", help="Make the user if there is none.")
        parser.add_argument("--label", default="", help="What the token is for; shown in the admin.")
        parser.add_argument("--days", type=days, help="Days until it expires. Default: it never does.")

    def handle(self, *, username: str, create_user: bool, label: str, days: timedelta | None, **_options: Any) -> None:
        if len(label) > (longest := AccessToken._meta.get_field("label").max_length or 0):
            raise CommandError(f"The label is longer than {longest} characters.")
        with transaction.atomic():
            user = self.user(username, create=create_user)
            secret = credentials.issue(user, AccessToken.Kind.API_TOKEN, label, lifetime=days)
        self.stdout.write(secret)

    def user(self, username: str, *, create: bool) -> User:
        user = get_user_model().objects.filter(username=username).first()
        if user is None and create:
            return self.new_user(username)
        if user is None:
            raise CommandError(f"There is no user {username!r}. Add --create-user to make that user.")
        if not user.is_active:
            raise CommandError(f"The user {username!r} is not active: a token would not be accepted.")
        return user

    def new_user(self, username: str) -> User:
        user = get_user_model()(username=username)
        user.set_unusable_password()
        try:
            user.full_clean()
        except ValidationError as error:
            raise CommandError(f"{username!r} cannot be a user name. {' '.join(error.messages)}") from error
        user.save()
        self.stderr.write(f"Made the user {username!r}, who has no password.")
        return user


def days(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of days, 1 to 36500.")
    return timedelta(days=int(text))
