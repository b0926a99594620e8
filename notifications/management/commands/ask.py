from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from agents.database import in_database
from notifications import credentials
from notifications.approving import Approving
from notifications.asking import EXIT_CODES, INTERRUPTED, Asking
from notifications.client import NetraClient, frame_bytes, start_frame
from notifications.connection import ClientError, NothingAnswers, Refused, is_local, socket_url
from notifications.cursors import Frame
from notifications.management.commands.login_link import first_superuser, local_url, manage
from notifications.models import AccessToken
from notifications.protocol import MAX_MESSAGE_BYTES
from notifications.terminal import Terminal

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NOT_ASKED: Final = 2
TICKET_LIFETIME: Final = timedelta(seconds=30)
MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
"""With these a file in UTF-16 begins."""


class Command(BaseCommand):
    help = (
        "Asks an agent over a WebSocket and prints what happens, live. Ctrl-C cancels the run and waits for its end. "
        "Exit code 0: completed; 1: failed; 2: it could not be asked; 3: timed out; 4: cancelled; 5: lost; 130: Ctrl-C."
    )
    requires_system_checks: Any = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("agent", metavar="AGENT", nargs="?", help="Which agent, such as analyst.")
        parser.add_argument("message", metavar="MESSAGE", nargs="?", help="What it is to do.")
        parser.add_argument("--file", type=Path, metavar="PATH", help="A table, such as data.csv, that goes along.")
        parser.add_argument("--params", type=json_object, default={}, metavar="JSON", help="An object for the agent.")
        parser.add_argument("--thread", metavar="ID", help="The thread to go on with. Default: a new one.")
        parser.add_argument("--resume", metavar="RUN_ID", help="Follow this run, from its first event; starts none.")
        parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="The most that the run may take.")
        parser.add_argument("--json", action="store_true", help="Print the run's events as JSON, one a line.")
        parser.add_argument("--url", help="The server's address. Default: from HOST and PORT.")
        parser.add_argument(
            "--token", help="An API token. Default: NETRA_TOKEN, else whoever rules the local database."
        )

    def handle(self, **options: Any) -> None:
        self.stdout.ending = ""
        self.require_text(options)
        url = options["url"] or local_url()
        token = (options["token"] or os.environ.get("NETRA_TOKEN", "")).strip()
        request = None if options["resume"] else self.request(options)
        client = self.client(url, token, is_default=not options["url"])
        terminal = Terminal(
            self.stdout,
            is_terminal=self.stdout.isatty(),
            has_colours=self.stdout.isatty() and not os.environ.get("NO_COLOR") and not options["no_color"],
            unfolds=options["verbosity"] > 1,
            now=time.monotonic,
        )
        as_json, stdin = options["json"], sys.stdin
        may_ask = not as_json and self.stdout.isatty() and stdin is not None and stdin.isatty()
        approving = Approving(
            client,
            terminal,
            keyboard=stdin.fileno() if may_ask else None,
            tell=self.stderr.write if as_json else terminal.note,
        )
        asking = Asking(client, self.stdout, terminal, as_json=as_json, approving=approving)
        try:
            code = asyncio.run(asking.run(request, options["resume"]))
        except NothingAnswers as error:
            remedy = "start it with `make run`, or say where it is, by PORT= or --url"
            self.fail(f"Nothing answers at {url}: {remedy}." if is_local(client.url) else error.message)
        except Refused as error:
            self.fail(refusal(url, bool(token)) if error.code == "refused" else error.message)
        except ClientError as error:
            self.fail(error.message)
        except DatabaseError as error:
            self.fail(f"There is no ticket to be had from the local database: {error}")
        except BrokenPipeError:  # as of `ask … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = EXIT_CODES["failed"]
        except (KeyboardInterrupt, asyncio.CancelledError):
            code = INTERRUPTED
        if code:
            sys.exit(code)

    def require_text(self, options: Frame) -> None:
        for name in ("agent", "message", "thread", "resume", "url"):
            if not is_text(options[name] or ""):
                self.fail(f"What was given as {name} is no text. Give it in UTF-8.")

    def request(self, options: Frame) -> Frame:
        """The arguments of start_agent, the table among them."""
        if options["agent"] is None or options["message"] is None:
            self.fail("Say which agent and what it is to do: ask AGENT MESSAGE. Or follow a run: ask --resume RUN_ID.")
        params = dict(options["params"])
        request = {
            "agent": options["agent"],
            "message": options["message"],
            "thread_id": options["thread"],
            "timeout": options["timeout"],
        }
        if options["file"] is None:
            return {**request, "params": params}
        if "table" in params:
            self.fail("Both --file and --params bring a table. Leave one of them out.")
        path: Path = options["file"]
        text = self.read(path)
        params |= {"filename": path.name.encode(errors="replace").decode(), "table": ""}
        overhead = frame_bytes(start_frame(**request, params=params))
        params["table"] = text
        if (whole := frame_bytes(start_frame(**request, params=params))) > MAX_MESSAGE_BYTES:
            share = max(0.0, (MAX_MESSAGE_BYTES - overhead) / (whole - overhead))
            lines = text.count("\n") * share
            self.too_large(path, f"{len(text.encode()):,}", f"its first {lines:,.0f} lines or so")
        return {**request, "params": params}

    def read(self, path: Path) -> str:
        """The text of a file that is small enough."""
        try:
            with path.open("rb") as file:
                data = file.read(2 * MAX_MESSAGE_BYTES + 1)  # UTF-16 may take twice what it then needs
                size = max(len(data), os.fstat(file.fileno()).st_size)
        except OSError as error:
            self.fail(f"{path} cannot be read: {error.strerror}.")
        if len(data) > 2 * MAX_MESSAGE_BYTES:
            self.too_large(path, f"{size:,}" if size > len(data) else "too many", "a small part of it")
        text = decoded(data)
        if text is None:
            text = data.decode("latin-1")
            self.stderr.write(f"{path} is not UTF-8, so it was read as Latin-1.")
        if "\0" in text:
            self.fail(f"{path} is no text file. Save the table as CSV.")
        if not text.strip():
            self.fail(f"{path} is empty.")
        return text

    def too_large(self, path: Path, size: str, what_fits: str) -> NoReturn:
        self.fail(
            f"{path} is too large: it has {size} bytes, and a message has at most {MAX_MESSAGE_BYTES:,} with all that "
            f"goes along. Send fewer rows or columns: {what_fits} would fit."
        )

    def client(self, url: str, token: str, *, is_default: bool) -> NetraClient:
        try:
            address = socket_url(url)
        except ValueError as error:
            self.fail(str(error))
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            self.fail("The token has characters that no token has.")
        if token:
            return NetraClient(url, token=token)
        if not is_default and not is_local(address):
            self.fail(f"Say who you are at {url}: give --token, or set NETRA_TOKEN.")
        user = self.local_user()

        async def ticket() -> str:
            return await in_database(credentials.issue, user, AccessToken.Kind.TICKET, lifetime=TICKET_LIFETIME)

        return NetraClient(url, ticket=ticket)

    def local_user(self) -> User:
        try:
            return first_superuser()
        except CommandError:
            self.fail("There is no active superuser to ask as. Give --token, or set NETRA_TOKEN.")
        except DatabaseError as error:
            self.fail(f"The local database refused: {error}. If it is new, run `{manage()} migrate` first.")

    def fail(self, sentence: str) -> NoReturn:
        self.stderr.write(sentence)
        sys.exit(NOT_ASKED)


def decoded(data: bytes) -> str | None:
    """None: neither UTF-8 nor marked as UTF-16."""
    try:
        return data.decode("utf-16" if data.startswith(MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def refusal(url: str, has_token: bool) -> str:
    if has_token:
        return f"{url} refused the token: it is wrong or expired, or its user is not active."
    return f"{url} refused a ticket of the local database, so it may use another one. Give --token, or set NETRA_TOKEN."


def is_text(text: str) -> bool:
    """Not so are bytes of a command line that are no UTF-8, and halves of surrogate pairs: no frame can carry them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_object(text: str) -> Frame:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is not JSON: {error}") from error
    if not is_text(json.dumps(value, ensure_ascii=False)):
        raise argparse.ArgumentTypeError("it has characters that are no text, such as half of a surrogate pair")
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object, such as '{\"limit\": 5}'")
    return value


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0.")
    return value
