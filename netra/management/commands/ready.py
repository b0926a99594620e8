from __future__ import annotations

import argparse
import http.client
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import msgspec
from django.core.management.base import BaseCommand, CommandError

from netra.health import Report
from notifications.management.commands.login_link import local_url

SECONDS: Final = 5.0


class Command(BaseCommand):
    help = (
        "Asks a running server whether it is ready, by its /readyz. Exit code 0: it is, though perhaps degraded; 1: no."
    )
    requires_system_checks: Any = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--url", help="The server's address. Default: from HOST and PORT.")

    def handle(self, *, url: str | None, **_options: Any) -> None:
        report = ask(f"{(url or local_url()).rstrip('/')}/readyz")
        for name, finding in report.checks.items():
            self.stdout.write(f"{name}: {finding.status}. {finding.message}".rstrip())
        if not report.is_ready:
            raise CommandError("The server is not ready.")


def ask(url: str) -> Report:
    """What a server says of itself. Raises CommandError when it says nothing of the kind."""
    try:
        body = _read(url)
    except ValueError:
        raise CommandError(f"{url} is no address of a server: those begin with http:// or https://.") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise CommandError(
            f"Nothing answers at {url}: {reason}. Is the server running, with this HOST and PORT?"
        ) from None
    try:
        return msgspec.json.decode(body, type=Report)
    except msgspec.MsgspecError:
        raise CommandError(f"What answers at {url} is not Netra.") from None


def _read(url: str) -> bytes:
    """Also of an answer that says no. Goes to the server itself, whatever proxy the environment names."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(url)
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=SECONDS) as answer:
            body: bytes = answer.read()
    except HTTPError as error:
        with error:
            body = error.read()
    return body
