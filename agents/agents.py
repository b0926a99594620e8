"""The agents that Netra ships, found like those of any other app."""

from __future__ import annotations

from django.conf import settings

from agents.library import analyst, assistant, supervisor  # noqa: F401 - they register themselves

if settings.NETRA_TEST_AGENTS:
    from agents.library import scripted  # noqa: F401 - registers itself
