"""A channel layer that loses, doubles, disorders and delays: every client still gets every event once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, require_legal_phases, require_record_is_log, require_view_is_log
from netra.testing.server import RunningNetra
from netra.testing.users import User
from notifications.client import NetraClient

pytestmark = pytest.mark.e2e

FAULTS = {"drop": 0.3, "duplicate": 0.2, "reorder": 0.2, "delay": 0.15}
RUNS = 4
SCRIPT: list[dict[str, Any]] = [
    {"emit": 40, "rate": 80},
    {"parallel": [{"tool": "echo", "arguments": {"n": n}} for n in range(3)]},
    {"tool": "fail", "catch": True},
    {"stream": "an answer in many pieces " * 20, "chunks": 40},
    {"emit": 20, "rate": 80},
    {"return": "done"},
]

Views = dict[str, list[dict[str, Any]]]


@pytest.fixture
def netra(tmp_path: Path) -> Iterator[RunningNetra]:
    """Its layer lets 15 messages of 100 pass as they are. The heads are compared every second."""
    faults = ",".join(f"{fault}={probability}" for fault, probability in FAULTS.items())
    with RunningNetra(tmp_path, NETRA_TEST_LAYER_FAULTS=faults, NETRA_HEARTBEAT_SECONDS="1") as netra:
        yield netra


async def take_runs(netra: RunningNetra, user: User) -> Views:
    """Starts runs and takes their events, each run by a client of its own and all by one more."""
    async with NetraClient(netra.url, token=user.token) as first, NetraClient(netra.url, token=user.token) as second:
        starts = [first.start_agent("scripted", "Go.", params={"script": SCRIPT}) for _ in range(RUNS)]
        run_ids = [accepted["run_id"] for accepted in await asyncio.gather(*starts)]
        views = await asyncio.gather(*(take(client, run_id) for client in (first, second) for run_id in run_ids))
    assert views[:RUNS] == views[RUNS:]
    return dict(zip(run_ids, views, strict=False))


async def take(client: NetraClient, run_id: str) -> list[dict[str, Any]]:
    return [event async for event in client.events(run_id)]


async def take_runs_of_all(netra: RunningNetra, users: list[User]) -> list[Views]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*(take_runs(netra, user) for user in users))


def judge_socket(chat: Chat, logs: Views) -> None:
    """A socket that asks for nothing again is told of its user's runs alone, and of each the whole log, once."""
    for run_id, log in logs.items():
        require_view_is_log(chat.finish(run_id), log)
    assert {frame["run_id"] for frame in chat.frames if "seq" in frame} == set(logs)


def test_every_client_of_every_user_sees_the_log(netra: RunningNetra):
    users = netra.create_users("ada", "grace", "edith")
    with ExitStack() as open_chats:
        chats = {user: [open_chats.enter_context(netra.connect(user.token)) for _ in range(2)] for user in users}
        for user, views in zip(users, asyncio.run(take_runs_of_all(netra, users)), strict=True):
            logs = {run_id: netra.logged(run_id) for run_id in views}
            for run_id, log in logs.items():
                require_lawful(log)
                require_legal_phases(netra.transitions(run_id), log)
                require_record_is_log(netra.run_row(run_id), log)
                require_view_is_log(views[run_id], log)
            for chat in chats[user]:
                judge_socket(chat, logs)

    done = netra.layer_faults()
    assert all(done[fault] > 10 for fault in FAULTS), done  # the layer did fail, again and again
