"""System checks of a deployment: what is set up by half is refused before anybody is served, with the remedy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from netra import environment

SECRET_CHARACTERS = 16


@register
def check_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """What `manage.py check` and `migrate` say, and what keeps a server from starting."""
    return [*_check_secret_key(), *_check_debug(), *_check_processes(), *_check_alerts(), *_check_leases()]


def refuse_half_configured() -> None:
    """Ends a server process that the checks refuse, with their sentences."""
    if found := check_deployment(None):
        sys.exit("\n".join(f"Netra is not set up correctly: {problem.msg} {problem.hint}" for problem in found))


def _check_secret_key() -> list[CheckMessage]:
    is_shared = _is_on_postgresql() or bool(settings.NETRA_REDIS_HOSTS)
    if environment.text("SECRET_KEY") or not is_shared:
        return []
    return [
        Error(
            "SECRET_KEY is not set, but DATABASE_URL or REDIS_URL is: each machine would make a key of its own, and who"
            " logs in on one would be a stranger to the others.",
            hint="Set SECRET_KEY to the same 50 random characters or more for all processes.",
            id="netra.E010",
        )
    ]


def _check_debug() -> list[CheckMessage]:
    is_reached = settings.NETRA_HTTPS or bool({*settings.ALLOWED_HOSTS} - {*settings.LOCAL_HOSTS})
    if not (settings.DEBUG and is_reached):
        return []
    return [
        Error(
            "DEBUG is on, and others than this machine reach this server: they would be shown its settings and code.",
            hint="Unset DEBUG; or, to develop, unset NETRA_HTTPS and ALLOWED_HOSTS and have HOST be 127.0.0.1.",
            id="netra.E011",
        )
    ]


def _check_processes() -> list[CheckMessage]:
    """Other ways to start several are noticed while they run: netra.probes.probe_solitude."""
    processes = environment.integer("WEB_CONCURRENCY", 1)
    if processes == 1 or settings.NETRA_REDIS_HOSTS:
        return []
    return [
        Error(
            f"WEB_CONCURRENCY asks for {processes} server processes, and the channel layer in memory joins no two.",
            hint="Set REDIS_URL; or unset WEB_CONCURRENCY.",
            id="netra.E012",
        )
    ]


def _check_alerts() -> list[CheckMessage]:
    if not settings.NETRA_ALERT_URL or len(settings.NETRA_ALERT_SECRET) >= SECRET_CHARACTERS:
        return []
    return [
        Error(
            f"NETRA_ALERT_URL is set, but NETRA_ALERT_SECRET has less than {SECRET_CHARACTERS} characters: who receives"
            " alerts could not tell Netra's from anybody's.",
            hint="Set NETRA_ALERT_SECRET to 32 random characters, here and where alerts are received.",
            id="netra.E013",
        )
    ]


def _check_leases() -> list[CheckMessage]:
    if settings.NETRA_LEASE_SECONDS >= 2 * settings.NETRA_LEASE_RENEW_SECONDS:
        return []
    return [
        Error(
            f"NETRA_LEASE_SECONDS is {settings.NETRA_LEASE_SECONDS:g}, and leases are renewed every"
            f" {settings.NETRA_LEASE_RENEW_SECONDS:g} s: runs would be taken for lost while their worker has them.",
            hint="Set NETRA_LEASE_SECONDS to three times NETRA_LEASE_RENEW_SECONDS, at least to twice.",
            id="netra.E014",
        )
    ]


def _is_on_postgresql() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"].endswith(".postgresql"))
