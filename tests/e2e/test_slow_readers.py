"""A client that stops reading costs the server little, disturbs nobody, and has everything in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from netra.testing.laws import require_lawful
from netra.testing.server import RunningNetra, WebServer
from tests.benchmarks.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLIENTS: Final = 40
"""Of one user, and so many that the noise of one process is small in what each costs on average."""
SCRIPT: Final[list[dict[str, Any]]] = [{"emit": 1000, "bytes": 8000}, {"return": "done"}]
"""8 MB: twice what the kernel keeps for a socket."""
MOST_MIB: Final = 2.0


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def netra(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetra]:
    """Its own: its memory is measured."""
    web_server: WebServer = request.param
    folder = tmp_path_factory.mktemp(f"slow-{web_server}")
    with RunningNetra(folder, web_server, NETRA_HEARTBEAT_SECONDS="2", NETRA_DEFAULT_TIER="enterprise") as netra:
        yield netra


class Deaf(Wire):
    """A client that does not read its socket until it is asked to."""

    def __init__(self, netra: RunningNetra, token: str) -> None:
        super().__init__(netra.ws_url, token)
        self.events: list[dict[str, Any]] = []
        self.ended: set[str] = set()
        self.receive_until("connection_established")

    def read_on(self, run_id: str) -> list[dict[str, Any]]:
        """All events of the run, from first to last; those of others are kept for when they are asked for."""
        while run_id not in self.ended:
            frames = [json.loads(arrival.text) for arrival in self.receive_until("agent_completed")]
            self.events += [frame for frame in frames if "seq" in frame]
            self.ended.add(frames[-1]["run_id"])
        return [event for event in self.events if event["run_id"] == run_id]


def test_clients_that_stop_reading_cost_little_and_have_everything_in_the_end(netra: RunningNetra):
    token = netra.new_user().token
    with ExitStack() as sockets:
        reader = sockets.enter_context(netra.connect(token))
        for _ in range(2):
            reader.run(*SCRIPT)  # what runs of this size cost a process once, whoever reads
        deaf = [sockets.enter_context(Deaf(netra, token)) for _ in range(CLIENTS)]
        before = netra.memory_mb()

        runs = [reader.run(*SCRIPT) for _ in range(2)]
        grown = netra.memory_mb() - before

        assert grown / CLIENTS < MOST_MIB, f"{grown:.1f} MiB for {CLIENTS} clients"
        assert reader.ask(type="ping", id="undisturbed")["id"] == "undisturbed"
        for events in runs:
            require_lawful(events)
            assert deaf[0].read_on(events[0]["run_id"]) == events
            assert deaf[-1].read_on(events[0]["run_id"]) == events


def test_a_client_that_stopped_reading_may_come_back_with_its_cursor(netra: RunningNetra):
    user = netra.new_user()
    with netra.connect(user.token) as reader:
        with Deaf(netra, user.token) as client:
            run_id = reader.start_run(*SCRIPT)["run_id"]
            taken = json.loads(client.receive_until("agent_started")[-1].text)
            events = reader.finish(run_id, seconds=60)
        with netra.connect(user.token) as again:
            again.resume(**{run_id: taken["seq"]})

            assert [taken, *again.view(run_id, cursor=taken["seq"])] == events
