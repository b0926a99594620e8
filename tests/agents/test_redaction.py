import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.redaction import REDACTED, is_secret_key, redact, restore

SECRET = (
    "password Password PASSWORD user_password passwd secret client_secret clientSecret SECRET_KEY apikey apiKey APIKey"
    " api_key api-key X-Api-Key authorization Authorization credential credentials aws_credentials cookie Set-Cookie"
    " private_key privateKey PRIVATE-KEY token access_token accessToken AccessToken refresh-token TOKEN authToken"
    " x.token oauth2Token id_token"
).split()
HARMLESS = (
    "max_tokens tokens maxTokens tokenizer tokenize total_tokens tokenised pass key keyboard author authored api"
    " public_key message text monkey private a"
).split()


@pytest.mark.parametrize("key", SECRET)
def test_a_key_that_tells_of_a_secret_is_known(key):
    assert is_secret_key(key)


@pytest.mark.parametrize("key", HARMLESS)
def test_a_harmless_key_is_left_alone(key):
    assert not is_secret_key(key)


def test_a_secret_at_any_depth_is_replaced_whatever_its_type():
    value = {
        "user": "ada",
        "login": [{"password": "pw1"}, {"deep": {"deeper": [[{"api_key": ["pw2", "pw3"]}]]}}],
        "cookie": {"session": "pw4"},
        "token": 5,
        "secret": None,
    }

    shown = redact(value)

    assert shown == {
        "user": "ada",
        "login": [{"password": REDACTED}, {"deep": {"deeper": [[{"api_key": REDACTED}]]}}],
        "cookie": REDACTED,
        "token": REDACTED,
        "secret": REDACTED,
    }
    assert "pw" not in repr(shown).replace("password", "")


def test_the_original_is_left_as_it_was():
    value = {"password": "pw", "list": [{"token": "t"}]}

    redact(value)

    assert value == {"password": "pw", "list": [{"token": "t"}]}


def test_a_secret_under_a_harmless_key_stays():
    assert redact({"note": "my password is pw"}) == {"note": "my password is pw"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(json_values, st.sampled_from(SECRET))
def test_a_needle_under_a_secret_key_never_survives(value, key):
    needle = "n-e-e-d-l-e"

    assert needle not in repr(redact({"outer": [value, {key: {"inner": [needle, value]}}]}))


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4), max_leaves=10))
def test_a_value_without_keys_is_not_changed(value):
    assert redact(value) == value


def test_secrets_that_were_left_as_they_were_are_put_back():
    original = {"token": "t0", "a": [{"password": "p0", "b": 1}], "note": "x"}
    shown = redact(original)
    assert isinstance(shown, dict)

    edited = {**shown, "a": [{"password": "[redacted]", "b": 2}], "note": "[redacted]"}
    assert restore(shown, shown, original) == original
    assert restore(edited, shown, original) == {**original, "a": [{"password": "p0", "b": 2}], "note": "[redacted]"}
    assert restore({**shown, "token": "mine"}, shown, original) == {**original, "token": "mine"}
    assert restore(shown, {}, {"a": 1}) == shown


def test_what_was_cut_and_left_as_it_was_is_whole_again():
    original = {"to": "bob", "text": "x" * 1_000, "pages": ["y" * 1_000, "z"]}
    shown = {"to": "bob", "text": "x…", "pages": ["y…", "z"]}

    assert restore({**shown, "to": "eve"}, shown, original) == {**original, "to": "eve"}
    assert restore({**shown, "pages": ["y…", "zz"]}, shown, original) == {**original, "pages": ["y" * 1_000, "zz"]}
    assert restore({**shown, "pages": ["y…"]}, shown, original) == {**original, "pages": ["y…"]}


@given(st.dictionaries(st.text(max_size=3) | st.sampled_from(SECRET), json_values, max_size=5))
def test_what_a_person_leaves_as_it_is_becomes_the_original(value):
    shown = redact(value)
    assert isinstance(shown, dict)

    assert restore(shown, shown, value) == value
