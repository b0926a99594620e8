"""Each test loads the settings in a process of its own, as a server does, in a folder of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

PRINT = """
import json, sys
from netra import settings
print(json.dumps({name: getattr(settings, name, None) for name in sys.argv[1:]}, default=str))
"""


@pytest.fixture
def load(python):
    """The settings that are asked for, by name, under an environment."""

    def load(*names: str, **environment: str) -> dict[str, Any]:
        done = python("-c", PRINT, *names, **environment)
        assert done.returncode == 0, done.stderr
        settings: dict[str, Any] = json.loads(done.stdout)
        return settings

    return load


def test_nothing_needs_to_be_set(load, tmp_path):
    defaults = load("DEBUG", "DATABASES", "CHANNEL_LAYERS", "ALLOWED_HOSTS", "HOST", "PORT", "STATIC_ROOT")

    assert defaults["DEBUG"] is False
    assert defaults["DATABASES"]["default"]["NAME"] == str(tmp_path / "netra.sqlite3")
    assert defaults["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
    assert defaults["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert (defaults["HOST"], defaults["PORT"]) == ("127.0.0.1", 8000)
    assert Path(defaults["STATIC_ROOT"]).is_dir()


def test_the_limits_have_the_defaults_of_the_design(load):
    defaults = {
        "NETRA_TEST_AGENTS": False,
        "NETRA_DEFAULT_TIER": "free",
        "NETRA_TIERS": {},
        "NETRA_HEARTBEAT_SECONDS": 20,
        "NETRA_LEASE_SECONDS": 6,
        "NETRA_LEASE_RENEW_SECONDS": 2,
        "NETRA_STOP_GRACE_SECONDS": 10,
        "NETRA_RUNS_TOTAL": 100,
        "NETRA_RUNS_PER_USER": 20,
        "NETRA_LIVE_RUNS_PER_USER": 100,
        "NETRA_SOCKETS_PER_USER": 50,
        "NETRA_MESSAGES_PER_MINUTE": 600,
        "NETRA_STARTS_PER_MINUTE": 30,
        "NETRA_PROTOCOL_ERRORS": 20,
        "NETRA_BREAKER_FAILURES": 5,
        "NETRA_BREAKER_WINDOW_SECONDS": 60,
        "NETRA_BREAKER_COOLDOWN_SECONDS": 30,
    }
    assert load(*defaults) == defaults


def test_settings_come_from_variables_of_their_name(load):
    environment = {
        "SECRET_KEY": "given",
        "DEBUG": "1",
        "HOST": "netra.example",
        "PORT": "9000",
        "CSRF_TRUSTED_ORIGINS": "https://netra.example",
        "NETRA_TEST_AGENTS": "1",
        "NETRA_DEFAULT_TIER": "mid",
        "NETRA_TIERS": '{"free": {"run": 20}}',
        "NETRA_HEARTBEAT_SECONDS": "1",
        "NETRA_LEASE_SECONDS": "2",
        "NETRA_LEASE_RENEW_SECONDS": "0.5",
        "NETRA_STOP_GRACE_SECONDS": "3",
        "NETRA_RUNS_TOTAL": "4",
        "NETRA_RUNS_PER_USER": "5",
        "NETRA_LIVE_RUNS_PER_USER": "6",
        "NETRA_SOCKETS_PER_USER": "7",
        "NETRA_MESSAGES_PER_MINUTE": "8",
        "NETRA_STARTS_PER_MINUTE": "9",
        "NETRA_PROTOCOL_ERRORS": "10",
        "NETRA_BREAKER_FAILURES": "0",
        "NETRA_BREAKER_WINDOW_SECONDS": "11",
        "NETRA_BREAKER_COOLDOWN_SECONDS": "0.5",
    }
    meant: dict[str, Any] = {
        name: float(value) if value.replace(".", "").isdigit() else value for name, value in environment.items()
    }
    meant |= {"CSRF_TRUSTED_ORIGINS": ["https://netra.example"], "DEBUG": True, "NETRA_TEST_AGENTS": True}
    meant |= {"NETRA_TIERS": {"free": {"run": 20}}}

    assert load(*environment, **environment) == meant


def test_a_start_loads_nothing_that_few_processes_need(python):
    few = ["polars", "psycopg", "pydantic_ai", "redis", "twisted.internet"]
    loaded = "import sys, django; django.setup(); print([name for name in sys.argv[1:] if name in sys.modules])"

    done = python("-c", loaded, *few, DJANGO_SETTINGS_MODULE="netra.settings")

    assert done.stdout == "[]\n", done.stderr


def test_a_mistake_is_told_in_a_sentence(python):
    done = python("manage.py", "check", PORT="eight")

    assert done.returncode == 1
    assert done.stderr == (
        "Netra is not set up correctly: "
        "The environment variable PORT is 'eight'; expected a whole number, 1 to 65535.\n"
    )


def test_a_database_without_tables_is_told_in_a_sentence(python):
    done = python("manage.py", "create_token", "ada")

    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_secret_key_stays_and_is_not_in_the_settings_folder(load, tmp_path):
    assert load("SECRET_KEY") == load("SECRET_KEY") == {"SECRET_KEY": (tmp_path / "secret_key").read_text()}


def test_a_given_secret_key_is_not_written_down(load, tmp_path):
    load("SECRET_KEY", SECRET_KEY="given")

    assert not (tmp_path / "secret_key").exists()


@pytest.mark.parametrize(
    ("host", "added"),
    [("netra.example", ["netra.example"]), ("0.0.0.0", []), ("::", []), ("127.0.0.1", [])],
)
def test_a_certain_host_is_allowed(load, host, added):
    assert load("ALLOWED_HOSTS", HOST=host)["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]", *added]


@pytest.mark.parametrize(
    ("environment", "secure"),
    [({}, None), ({"NETRA_HTTPS": "1"}, True), ({"NETRA_HTTPS": "1", "DEBUG": "1"}, None)],
)
def test_cookies_are_secure_behind_https(load, environment, secure):
    given = load("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", **environment)

    assert set(given.values()) == {secure}


def test_sqlite_is_tuned_for_many_writers(python):
    done = python(
        "-c",
        "import django; from django.db import connection\n"
        "with connection.cursor() as cursor:\n"
        "    for name in ('journal_mode', 'synchronous', 'busy_timeout'):\n"
        "        print(cursor.execute(f'PRAGMA {name}').fetchone()[0])",
        DJANGO_SETTINGS_MODULE="netra.settings",
    )

    assert done.stdout.split() == ["wal", "1", "20000"], done.stderr
