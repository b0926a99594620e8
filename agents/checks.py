"""System checks: a set-up that cannot work is refused when Netra starts, with the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from agents import breaker, tiers
from agents.tiers import TIERS, build_tiers


@register
def check_tiers(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    try:
        table = build_tiers(settings.NETRA_TIERS)
    except (KeyError, TypeError) as error:
        return [
            Error(
                f"NETRA_TIERS names something that Netra does not know: {error}",
                hint=f"Tiers are {', '.join(TIERS)}; numbers are run, no_progress, tool and approval, in seconds.",
                id="netra.E001",
            )
        ]
    found: list[CheckMessage] = [
        Error(problem, hint="Change NETRA_TIERS in the settings.", id="netra.E002") for problem in tiers.problems(table)
    ]
    if settings.NETRA_DEFAULT_TIER not in table:
        found.append(
            Error(
                f"NETRA_DEFAULT_TIER is {settings.NETRA_DEFAULT_TIER!r}, which is no tier.",
                hint=f"Set it to one of {', '.join(table)}.",
                id="netra.E003",
            )
        )
    return found


@register
def check_breaker(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    found = breaker.problems(
        failures=settings.NETRA_BREAKER_FAILURES,
        window=settings.NETRA_BREAKER_WINDOW_SECONDS,
        cooldown=settings.NETRA_BREAKER_COOLDOWN_SECONDS,
    )
    hint = "Correct it, or leave it out for the default: 5 failures, 60 s, 30 s."
    return [Error(problem, hint=hint, id="netra.E004") for problem in found]


@register
def check_language_model(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if bool(settings.NETRA_LLM_BASE_URL) == bool(settings.NETRA_LLM_MODEL):
        return []
    return [
        Error(
            "Of NETRA_LLM_BASE_URL and NETRA_LLM_MODEL one is set and the other is not.",
            hint="Set both for an OpenAI-compatible endpoint, or neither for the local model.",
            id="netra.E010",
        )
    ]
