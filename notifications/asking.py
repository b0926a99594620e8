"""One question asked at a terminal, until its run has ended: what is shown, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import suppress
from typing import Final

from notifications.approving import Approving
from notifications.client import NetraClient
from notifications.connection import ClientError
from notifications.cursors import Frame
from notifications.terminal import Output, Terminal

INTERRUPTED: Final = 130
EXIT_CODES: Final = {"completed": 0, "failed": 1, "timed_out": 3, "cancelled": 4, "lost": 5}
STATUS_SECONDS: Final = 0.5
APPROVALS: Final = frozenset({"approval_requested", "approval_resolved"})


class Asking:
    """One run, from the question to its end, or one that goes on already."""

    def __init__(
        self, client: NetraClient, out: Output, terminal: Terminal, *, as_json: bool, approving: Approving
    ) -> None:
        self._client = client
        self._approving = approving
        self._family: set[str] = set()
        self._out = out
        self._as_json = as_json
        self._terminal = terminal
        self._interrupted = asyncio.Event()
        self._is_asked = False

    async def run(self, request: Frame | None, run_id: str | None) -> int:
        """Asks, or follows the run; returns the exit code. Raises ClientError, or BrokenPipeError if nobody reads."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        loop.add_signal_handler(signal.SIGINT, self._interrupt, task)
        async with self._client:
            self._is_asked = True
            if request is not None:
                accepted = await self._client.start_agent(**request)
                run_id = accepted["run_id"]
                if not self._as_json:
                    self._terminal.accepted(accepted)
            assert run_id is not None
            self._family.add(run_id)
            self._client.on_event(self._hear_of_children)
            status = await self._follow(run_id)
        return INTERRUPTED if self._interrupted.is_set() else EXIT_CODES[status]

    async def _follow(self, run_id: str) -> str:
        """Prints the run's events; returns its status at the end."""
        status, problem = "", None
        async with asyncio.TaskGroup() as group:
            canceller = group.create_task(self._cancel_when_interrupted(run_id))
            ticker = group.create_task(self._tick(group))
            try:
                async for event in self._client.events(run_id):
                    self._show(event)
                    status = event["snapshot"]["status"] if event["type"] == "gap" else event["data"].get("status", "")
            except (ClientError, BrokenPipeError) as error:
                problem = error
            finally:
                canceller.cancel()
                ticker.cancel()
                self._approving.close()
        if problem is not None:
            raise problem
        return status

    def _hear_of_children(self, event: Frame) -> None:
        """Runs that this one has started may wait for an approval too; the rest of them is not shown."""
        if event.get("parent_run_id") not in self._family:
            return
        self._family.add(event["run_id"])
        self._approving.note(event)
        if not self._as_json and event["type"] in APPROVALS:
            with suppress(BrokenPipeError):  # as in _tick
                self._terminal.show(event)

    def _show(self, event: Frame) -> None:
        self._approving.note(event)
        if self._as_json:
            self._out.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
            self._out.flush()
        else:
            self._terminal.show(event)

    async def _tick(self, group: asyncio.TaskGroup) -> None:
        while True:
            with suppress(BrokenPipeError):  # whoever follows the run finds that nobody reads
                if not self._as_json:
                    self._terminal.tick(self._client.state)
                self._approving.look(group)
            await asyncio.sleep(STATUS_SECONDS)

    def _interrupt(self, task: asyncio.Task[int]) -> None:
        """Ctrl-C: the first has the run cancelled, the second ends this program at once."""
        if self._interrupted.is_set() or not self._is_asked:
            task.cancel()
        self._interrupted.set()

    async def _cancel_when_interrupted(self, run_id: str) -> None:
        await self._interrupted.wait()
        if not self._as_json:
            self._terminal.note("… cancelling; Ctrl-C again leaves at once")
        try:
            await self._client.cancel_run(run_id)
        except ClientError as error:
            self._terminal.note(error.message)
