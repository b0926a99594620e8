import re

import pytest
from django.contrib.auth import get_user_model
from django.contrib.messages import get_messages

from notifications.credentials import find_token, issue
from notifications.models import AccessToken

pytestmark = pytest.mark.django_db
TOKENS = "/admin/notifications/accesstoken/"


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada")


def test_a_new_token_is_shown_once(admin_client, ada):
    answer = admin_client.post(f"{TOKENS}add/", {"user": ada.pk, "label": "laptop"})

    shown = " ".join(str(message) for message in get_messages(answer.wsgi_request))
    (secret,) = re.findall(r"netra_[\w-]{43}", shown)
    token = find_token(secret)
    assert token is not None
    assert token.user == ada
    assert secret in admin_client.get(TOKENS).text
    assert secret not in admin_client.get(TOKENS).text


def test_nothing_shows_a_digest(admin_client, ada):
    issue(ada, AccessToken.Kind.API_TOKEN)
    token = AccessToken.objects.get()

    for page in (TOKENS, f"{TOKENS}add/", f"{TOKENS}{token.pk}/change/"):
        answer = admin_client.get(page)
        assert answer.status_code == 200
        assert token.digest not in answer.text


def test_a_token_cannot_be_edited(admin_client, ada):
    issue(ada, AccessToken.Kind.API_TOKEN, "before")
    token = AccessToken.objects.get()

    answer = admin_client.post(f"{TOKENS}{token.pk}/change/", {"user": ada.pk, "label": "after"})

    assert answer.status_code == 403
    assert AccessToken.objects.get().label == "before"


def test_a_token_can_be_revoked(admin_client, ada):
    secret = issue(ada, AccessToken.Kind.API_TOKEN)
    token = AccessToken.objects.get()

    admin_client.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"})

    assert find_token(secret) is None
