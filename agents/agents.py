"""The agents that Netra ships, found like those of any other app."""

from __future__ import annotations

from django.conf import settings

from agents.library import analyst  # noqa: F401 - registers itself

if settings.NETRA_TEST_AGENTS:
    from agents.library import scripted  # noqa: F401 - registers itself
