"""The approvals for which a run and those that it has started wait: asked for at the terminal, or told of."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from notifications.client import NetraClient
from notifications.connection import ClientError
from notifications.cursors import Frame
from notifications.prompting import Answer, ApprovalPrompt
from notifications.terminal import Terminal

LINE_BYTES: Final = 65_536


class Approving:
    """`keyboard` is the descriptor of a terminal to be asked; without one, `tell` says what is to be done."""

    def __init__(
        self, client: NetraClient, terminal: Terminal, *, keyboard: int | None, tell: Callable[[str], None]
    ) -> None:
        self._client = client
        self._terminal = terminal
        self._keyboard = keyboard
        self._tell = tell
        self._open: dict[str, Frame] = {}
        self._told: set[str] = set()
        self._asked = ""
        self._prompt: ApprovalPrompt | None = None
        self._sending: asyncio.Task[None] | None = None

    def note(self, event: Frame) -> None:
        """Takes in an event of one of the runs."""
        match event["type"]:
            case "approval_requested":
                self._open[event["data"]["approval_id"]] = event
            case "approval_resolved":
                self._close(event["data"]["approval_id"])
            case "agent_completed":
                for approval_id in [each for each, asked in self._open.items() if asked["run_id"] == event["run_id"]]:
                    self._close(approval_id)
            case _:
                pass

    def look(self, group: asyncio.TaskGroup) -> None:
        """Asks, or tells, when there is something to answer: not what a replay has yet to resolve."""
        if self._client.state != "live" or self._prompt is not None or self._sending is not None:
            return
        for approval_id, event in self._open.items():
            if self._keyboard is None and approval_id not in self._told:
                self._told.add(approval_id)
                self._tell(instruction(self._client.url, event))
            if self._keyboard is not None:
                self._ask(approval_id, event, group)
                return

    def close(self) -> None:
        """The run has ended: nothing is asked any more."""
        self._withdraw()
        if self._sending is not None:
            self._sending.cancel()

    def _withdraw(self) -> None:
        if self._prompt is not None and self._keyboard is not None:
            asyncio.get_running_loop().remove_reader(self._keyboard)
            self._terminal.prompt("")
        self._prompt = None

    def _ask(self, approval_id: str, event: Frame, group: asyncio.TaskGroup) -> None:
        assert self._keyboard is not None
        self._asked, self._prompt = approval_id, ApprovalPrompt(event["data"])
        termios.tcflush(self._keyboard, termios.TCIFLUSH)  # what was typed before the question is no answer to it
        asyncio.get_running_loop().add_reader(self._keyboard, self._hear, group)
        self._terminal.prompt(self._prompt.question)

    def _close(self, approval_id: str) -> None:
        self._open.pop(approval_id, None)
        if approval_id == self._asked:
            self._withdraw()

    def _hear(self, group: asyncio.TaskGroup) -> None:
        assert self._prompt is not None
        assert self._keyboard is not None
        line = os.read(self._keyboard, LINE_BYTES).decode("utf-8", "replace")
        if not line:  # Ctrl-D: whoever is here does not want to be asked
            self._withdraw()
            self._keyboard = None
            return
        self._terminal.typed()
        self._prompt.take(line)
        if (answer := self._prompt.answer) is None:
            self._terminal.prompt(self._prompt.question)
        else:
            asyncio.get_running_loop().remove_reader(self._keyboard)
            prompt, self._prompt = self._prompt, None
            self._sending = group.create_task(self._send(self._open[self._asked], prompt, answer, group))

    async def _send(self, event: Frame, prompt: ApprovalPrompt, answer: Answer, group: asyncio.TaskGroup) -> None:
        try:
            await self._client.resolve_approval(
                event["run_id"],
                event["data"]["approval_id"],
                answer.decision,
                arguments=answer.arguments,
                comment=answer.comment,
            )
            self._open.pop(self._asked, None)
        except ClientError as error:
            if error.code == "invalid_message":
                prompt.again(error.message)
                self._prompt = prompt
                assert self._keyboard is not None
                asyncio.get_running_loop().add_reader(self._keyboard, self._hear, group)
                self._terminal.prompt(prompt.question)
            else:
                self._open.pop(self._asked, None)
                self._terminal.note(error.message)
        finally:
            self._sending = None


def instruction(url: str, event: Frame) -> str:
    """What to do where nobody can be asked."""
    address, data = urlsplit(url), event["data"]
    server = (("https" if address.scheme == "wss" else "http"), address.netloc)
    path = address.path.removesuffix("/ws/")
    page = urlunsplit((*server, f"{path}/threads/{event['thread_id']}", "", ""))
    door = urlunsplit((*server, f"{path}/api/v1/runs/{event['run_id']}/approvals/{data['approval_id']}", "", ""))
    return (
        f"{event['agent_name']} waits for an approval until {data['expires_at']}. Answer it at {page}, "
        f'or send {{"decision": "approve"}} or {{"decision": "reject"}} with your token to {door}'
    )
