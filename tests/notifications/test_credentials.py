from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, local

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from notifications.credentials import digest, find_token, issue, redeem
from notifications.models import AccessToken

API_TOKEN, TICKET, LOGIN_LINK = (
    AccessToken.Kind.API_TOKEN,
    AccessToken.Kind.TICKET,
    AccessToken.Kind.LOGIN_LINK,
)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada")


def user_of(token: AccessToken | None):
    return token.user if token is not None else None


def test_an_api_token_tells_its_user_as_often_as_asked(ada):
    secret = issue(ada, API_TOKEN)

    assert [user_of(find_token(secret)), user_of(find_token(secret))] == [ada, ada]


def test_an_api_token_can_be_recognised_and_is_long(ada):
    secret = issue(ada, API_TOKEN)

    assert secret.startswith("netra_")
    assert len(secret) >= len("netra_") + 43  # 256 bits in base 64


def test_no_secret_is_kept(ada):
    secret = issue(ada, API_TOKEN, "laptop")

    row = AccessToken.objects.values().get()
    assert row["digest"] == digest(secret)
    assert not [value for value in row.values() if secret in str(value)]


def test_each_secret_is_another(ada):
    assert len({issue(ada, API_TOKEN) for _ in range(20)}) == 20


@pytest.mark.parametrize("secret", ["", "netra_", "netra_wrong", "\udcff", "x" * 100_000])
def test_an_unknown_token_is_nobodys(ada, secret):
    issue(ada, API_TOKEN)

    assert find_token(secret) is None


def test_a_token_lasts_as_long_as_was_said(ada):
    with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
        secret = issue(ada, API_TOKEN, lifetime=MINUTE)
        clock.shift(59)
        assert user_of(find_token(secret)) == ada
        clock.shift(1)
        assert find_token(secret) is None


def test_an_inactive_users_secrets_are_worth_nothing(ada):
    token, ticket = issue(ada, API_TOKEN), issue(ada, TICKET, lifetime=MINUTE)
    get_user_model().objects.update(is_active=False)

    assert find_token(token) is None
    assert redeem(TICKET, ticket) is None


def test_use_is_noted_at_most_once_a_minute(ada):
    with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
        secret = issue(ada, API_TOKEN)
        noted = []
        for pause in (0, 30, 31):
            clock.shift(pause)
            find_token(secret)
            noted.append(AccessToken.objects.get().last_used_at)
        assert noted[0] == noted[1] == timezone.now() - timedelta(seconds=61)
        assert noted[2] == timezone.now()


@pytest.mark.parametrize("kind", [TICKET, LOGIN_LINK])
def test_a_single_use_secret_works_once(ada, kind):
    secret = issue(ada, kind, lifetime=MINUTE)

    assert [user_of(redeem(kind, secret)), user_of(redeem(kind, secret))] == [ada, None]


def test_an_expired_single_use_secret_is_worth_nothing(ada):
    with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
        secret = issue(ada, TICKET, lifetime=MINUTE)
        clock.shift(60)
        assert redeem(TICKET, secret) is None


def test_a_secret_is_good_for_its_own_kind_only(ada):
    ticket = issue(ada, TICKET, lifetime=MINUTE)
    token = issue(ada, API_TOKEN)

    assert redeem(LOGIN_LINK, ticket) is None
    assert find_token(ticket) is None
    assert redeem(TICKET, token) is None
    assert user_of(redeem(TICKET, ticket)) == ada


def test_redeeming_takes_nobody_elses_secret(ada):
    bob = get_user_model().objects.create_user("bob")
    adas, bobs = issue(ada, TICKET, lifetime=MINUTE), issue(bob, TICKET, lifetime=MINUTE)

    assert user_of(redeem(TICKET, adas)) == ada
    assert user_of(redeem(TICKET, bobs)) == bob


@pytest.mark.django_db(transaction=True)
def test_of_two_who_redeem_at_the_same_time_one_wins(ada):
    """The gate holds both until both have found the secret and neither has used it up."""
    secret = issue(ada, TICKET, lifetime=MINUTE)
    gate = Barrier(2)
    seen = local()

    def both_have_looked(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if not hasattr(seen, "secret"):
            seen.secret = True
            gate.wait(timeout=5)
        return result

    def redeem_it(_):
        try:
            with connection.execute_wrapper(both_have_looked):
                return redeem(TICKET, secret)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        winners = [token.user for token in pool.map(redeem_it, range(2)) if token is not None]
    assert winners == [ada]


def test_unused_tickets_do_not_pile_up(ada):
    with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
        issue(ada, TICKET, lifetime=MINUTE)
        expired_token = issue(ada, API_TOKEN, lifetime=MINUTE)
        clock.shift(60)
        fresh = issue(ada, TICKET, lifetime=MINUTE)

    kept = set(AccessToken.objects.values_list("digest", flat=True))
    assert kept == {digest(expired_token), digest(fresh)}


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("access_token_kind_known", {"kind": "password", "digest": "1"}),
        ("access_token_single_use_expires", {"kind": "ticket", "digest": "1"}),
    ],
)
def test_the_database_knows_the_rules(ada, constraint, values):
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        AccessToken.objects.create(user=ada, **values)


def test_the_database_keeps_digests_apart(ada):
    AccessToken.objects.create(user=ada, kind=API_TOKEN, digest="1")

    with pytest.raises(IntegrityError, match="digest"), transaction.atomic():
        AccessToken.objects.create(user=ada, kind=API_TOKEN, digest="1")
