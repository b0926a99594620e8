"""The name of each user's group on the channel layer. Pure."""

from __future__ import annotations


def group_of(user_id: int) -> str:
    """All of a user's sockets, and nobody else's, are in this group."""
    return f"netra.user.{user_id}"
