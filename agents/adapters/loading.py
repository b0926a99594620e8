"""Loads what only some agents need, when the first run of one needs it."""

from __future__ import annotations

import asyncio
from importlib import import_module

from agents.errors import AgentError


async def load_beside(module: str, *, name: str, install: str) -> None:
    """Imports a module beside the event loop: it takes seconds. Raises AgentError if it is not there."""
    try:
        await asyncio.to_thread(import_module, module)
    except ImportError as error:
        raise AgentError("adapter_not_installed", f"{name} cannot be loaded ({error}). Install {install}.") from error
