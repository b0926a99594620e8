"""A deployment that is set up by half is refused: by `check`, by `migrate`, and by the server itself."""

import sys
from pathlib import Path

import pytest

PRODUCTION = {
    "SECRET_KEY": "Wq3zr8Kx1vTn5Yb7Jm2Ld9Pf4Hs6Gc0Ra-Ue_Oi.Tz:Xy;Ql,Vk",
    "DATABASE_URL": "postgres://netra:secret@database/netra",
    "REDIS_URL": "redis://redis:6379/0",
    "ALLOWED_HOSTS": "netra.example",
    "CSRF_TRUSTED_ORIGINS": "https://netra.example",
    "NETRA_HTTPS": "1",
}


def without(*names: str, **changes: str) -> dict[str, str]:
    return {name: value for name, value in PRODUCTION.items() if name not in names} | changes


def test_production_settings_are_clean(python):
    done = python("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


REFUSED = {
    "netra.E010": (without("SECRET_KEY"), "Set SECRET_KEY"),
    "netra.E011": (without(DEBUG="1"), "Unset DEBUG"),
    "netra.E013": (without(NETRA_ALERT_URL="https://pager.example/"), "Set NETRA_ALERT_SECRET"),
    "netra.E012": (without("REDIS_URL", WEB_CONCURRENCY="4"), "Set REDIS_URL"),
    "netra.E014": (without(NETRA_LEASE_SECONDS="3"), "at least to twice"),
}


@pytest.mark.parametrize("id_", REFUSED)
def test_what_is_set_up_by_half_is_refused_with_the_remedy(python, id_):
    environment, remedy = REFUSED[id_]

    done = python("manage.py", "check", **environment)

    assert done.returncode == 1
    assert f"({id_})" in done.stderr
    assert remedy in done.stderr
    assert "secret@" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"DEBUG": "1", "DATABASE_URL": PRODUCTION["DATABASE_URL"], "SECRET_KEY": "x"},
        {"WEB_CONCURRENCY": "4", "REDIS_URL": PRODUCTION["REDIS_URL"], "SECRET_KEY": "x"},
    ],
    ids=["a developer with PostgreSQL", "several with Redis"],
)
def test_what_works_is_not_refused(python, environment):
    done = python("manage.py", "check", **environment)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_a_server_that_is_set_up_by_half_does_not_start_and_says_why(python, server):
    done = python("-m", server, "netra.asgi:application", **without("SECRET_KEY"))

    assert done.returncode == 1
    assert done.stderr.startswith("Netra is not set up correctly: SECRET_KEY is not set")
    assert "Set SECRET_KEY to the same" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_written_is_refused_by_name(python):
    done = python("manage.py", "check", NETRA_DATA_DIR=str(Path(sys.executable)))

    assert done.returncode == 1
    assert done.stderr.startswith("Netra is not set up correctly: NETRA_DATA_DIR is")
