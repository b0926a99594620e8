import re
from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.utils import timezone

from notifications.credentials import find_token, redeem
from notifications.models import AccessToken

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def owner_of(token: AccessToken | None) -> AbstractUser:
    assert token is not None
    return token.user


def link_in(text: str) -> tuple[str, str]:
    """The address before the secret, and the secret."""
    ((address, secret),) = re.findall(r"^ +(http\S+/login/)([\w-]{43})/$", text, re.MULTILINE)
    return address, secret


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada")


class TestCreateToken:
    def test_it_prints_the_token_alone(self, ada):
        out, err = run("create_token", "ada", "--label", "laptop")

        assert re.fullmatch(r"netra_[\w-]{43}\n", out)
        assert err == ""
        assert owner_of(find_token(out.strip())) == ada
        assert AccessToken.objects.get().label == "laptop"

    def test_an_unknown_user_is_refused_and_the_way_out_named(self):
        with pytest.raises(CommandError, match="no user 'ada'.*--create-user"):
            run("create_token", "ada")
        assert not AccessToken.objects.exists()

    def test_it_makes_the_user_if_asked_to(self):
        out, err = run("create_token", "ada", "--create-user")

        user = owner_of(find_token(out.strip()))
        assert user == get_user_model().objects.get(username="ada")
        assert (user.has_usable_password(), user.is_staff, user.is_superuser) == (False, False, False)
        assert "Made the user 'ada'" in err
        assert len(out.splitlines()) == 1

    def test_asking_for_a_user_who_is_there_changes_nobody(self, ada):
        out, err = run("create_token", "ada", "--create-user")

        assert owner_of(find_token(out.strip())) == ada
        assert err == ""

    def test_a_name_that_cannot_be_one_leaves_no_user(self):
        with pytest.raises(CommandError, match="'a b' cannot be a user name"):
            run("create_token", "a b", "--create-user")
        assert not get_user_model().objects.exists()

    def test_an_inactive_user_is_refused(self, ada):
        get_user_model().objects.update(is_active=False)

        with pytest.raises(CommandError, match="not active"):
            run("create_token", "ada")

    def test_it_expires_after_the_days_given(self, ada):
        with time_machine.travel("2026-11-21T09:00:00Z", tick=False):
            run("create_token", "ada", "--days", "3")
            assert AccessToken.objects.get().expires_at == timezone.now() + timedelta(days=3)

    def test_it_never_expires_by_default(self, ada):
        run("create_token", "ada")

        assert AccessToken.objects.get().expires_at is None

    @pytest.mark.parametrize("days", ["0", "-1", "1.5", "soon", "99999"])
    def test_days_that_are_none_are_refused(self, ada, days):
        with pytest.raises(CommandError, match="not a whole number of days"):
            run("create_token", "ada", f"--days={days}")
        assert not AccessToken.objects.exists()

    def test_too_long_a_label_is_refused(self, ada):
        with pytest.raises(CommandError, match="longer than 100"):
            run("create_token", "ada", "--label", "x" * 101)


class TestLoginLink:
    def test_the_first_time_it_makes_a_superuser_without_a_password(self):
        out, _ = run("login_link")

        user = get_user_model().objects.get()
        assert (user.username, user.is_superuser, user.is_staff) == ("admin", True, True)
        assert not user.has_usable_password()
        assert owner_of(redeem(AccessToken.Kind.LOGIN_LINK, link_in(out)[1])) == user

    def test_later_it_is_for_the_first_superuser(self):
        boss = get_user_model().objects.create_superuser("boss")

        out, _ = run("login_link")

        assert owner_of(redeem(AccessToken.Kind.LOGIN_LINK, link_in(out)[1])) == boss
        assert get_user_model().objects.count() == 1

    def test_it_makes_no_superuser_of_somebody_called_admin(self):
        get_user_model().objects.create_user("admin")

        with pytest.raises(CommandError, match="'admin' is not one.*login_link USERNAME"):
            run("login_link")
        assert not get_user_model().objects.filter(is_superuser=True).exists()

    def test_it_is_for_whom_it_is_asked_for(self, ada):
        out, _ = run("login_link", "ada")

        assert "Log in as ada" in out
        assert owner_of(redeem(AccessToken.Kind.LOGIN_LINK, link_in(out)[1])) == ada

    def test_an_unknown_user_is_refused(self):
        with pytest.raises(CommandError, match="no user 'zoe'.*createsuperuser"):
            run("login_link", "zoe")

    def test_an_inactive_user_is_refused(self, ada):
        get_user_model().objects.update(is_active=False)

        with pytest.raises(CommandError, match="not active"):
            run("login_link", "ada")

    def test_the_link_lasts_an_hour(self, ada):
        with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
            _, secret = link_in(run("login_link", "ada")[0])
            clock.shift(3600)
            assert redeem(AccessToken.Kind.LOGIN_LINK, secret) is None

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("127.0.0.1", "http://127.0.0.1:8123/login/"),
            ("0.0.0.0", "http://127.0.0.1:8123/login/"),
            ("::", "http://[::1]:8123/login/"),
            ("netra.example", "http://netra.example:8123/login/"),
        ],
    )
    def test_the_link_leads_to_this_server(self, ada, settings, host, address):
        settings.HOST, settings.PORT = host, 8123

        assert link_in(run("login_link", "ada")[0])[0] == address

    def test_the_link_leads_where_it_is_told_to(self, ada):
        out, _ = run("login_link", "ada", "--base-url", "https://netra.example/")

        assert link_in(out)[0] == "https://netra.example/login/"

    def test_it_says_how_to_make_users(self, ada):
        out, _ = run("login_link", "ada")

        for command in ("changepassword ada", "createsuperuser", "create_token USERNAME --create-user"):
            assert f"manage.py {command}" in out
