"""What clients call themselves, in fewer words."""

from __future__ import annotations

import re
from typing import Final

_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
"""The first that is there counts: each calls itself by the names of those after it as well."""
_SYSTEMS: Final = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "CrOS", "Linux")


def spell_client(client: str) -> str:
    """A browser's name, version and system; another client as it is, a line of it at most."""
    if not client.startswith("Mozilla/"):
        return client[:60] or "unnamed client"
    for mark, name in _BROWSERS:
        if version := re.search(rf"{mark}/(\d+)", client):
            system = next((f" on {each}" for each in _SYSTEMS if each in client), "")
            return f"{name} {version[1]}{system}"
    return client[:60]
