"""Several Netra processes on one database and one channel layer, their users' clients, and what can befall them all.

All of it is the real thing but for the sockets, the clock and the threads (tests.simulation). Whatever is committed is
looked at as it is committed, and whatever a client gets as it gets it: a broken law fails there and then.
"""

from __future__ import annotations

import contextvars
import sys
from collections import Counter, deque
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import structlog
import time_machine
from channels.layers import InMemoryChannelLayer, channel_layers
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection

from agents.models import AgentExecution, ExecutionEvent, PhaseTransition, Thread
from agents.pruning import prune_events
from agents.registry import AgentRegistry
from agents.transactions import commit
from netra.services import Services
from netra.testing.laws import require_lawful
from netra.testing.layers import FAULTS, FaultyLayer
from notifications.credentials import issue
from notifications.models import AccessToken
from notifications.routing import build_router
from tests.simulation.clients import Client, User
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.puppets import End, Puppet, puppet_class
from tests.simulation.witness import Witness

BEGINNING: Final = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
TABLES: Final = (PhaseTransition, ExecutionEvent, AgentExecution, Thread)
NEVER_LOGGED: Final = frozenset(
    "handler failed,sender failed,committed events not handed on,runner's duty failed,run was given up,"
    "database refused rows".split(",")
)

LEASE: Final = 3.0
PERIOD: Final = 1.0
"""How often leases are renewed and looked for."""
HEARTBEAT: Final = 2.0
SECONDS_TO_END: Final = 90
SETTINGS: Final = {
    "NETRA_LEASE_SECONDS": LEASE,
    "NETRA_LEASE_RENEW_SECONDS": PERIOD,
    "NETRA_HEARTBEAT_SECONDS": HEARTBEAT,
    "NETRA_STARTS_PER_MINUTE": 10_000,
    "NETRA_MESSAGES_PER_MINUTE": 100_000,
}

Failure = Literal["refused", "answer lost"]
Reach = Literal["any", "commit"]


class Stage:
    """What all examples share: the thread that has the database, and the users. `seen` counts what they met."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self.users = self.in_database(lambda: [_make_user(name) for name in ("ada", "bob")])

    def in_database(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._thread.submit(function, *args).result()

    def rarely(self, *kinds: str) -> list[str]:
        return [kind for kind in kinds if self.seen[kind] * 50 < self.seen["example"]]

    def describe(self) -> str:
        shares = (f"{kind} {count / self.seen['example']:.0%}" for kind, count in sorted(self.seen.items()))
        return f"{self.seen['example']} examples; of these with {', '.join(shares)}"

    def close(self) -> None:
        self.in_database(lambda: connection.close())  # noqa: PLW0108 - the connection of that thread
        self._thread.shutdown()


class NetraProcess(Process):
    """A process that serves sockets and executes runs, as `make run` starts one (but for SQLite's checkpoints)."""

    def __init__(self, world: World) -> None:
        super().__init__(world.loop)
        registry = AgentRegistry()
        for name, restartable in (("puppet", False), ("phoenix", True)):
            registry.register_agent_safely(name, puppet_class(world.puppets), streaming=True, restartable=restartable)
        self.services = Services(registry, runs_agents=True)
        self.router = build_router(
            is_ready=_always,
            manager=self.services.manager,
            intake=self.services.intake,
            limits=self.services.socket_limits,
        )
        self.spawn(self._start())

    async def _start(self) -> None:
        self.services.manager.start()
        assert self.services.runner is not None
        self.services.runner.start()


class World:
    def __init__(self, stage: Stage, *, seed: int, noise: float) -> None:
        self.stage = stage
        self.counts: Counter[str] = Counter()
        self.witness = Witness(self.counts)
        self.puppets: list[Puppet] = []
        self.clients: list[Client] = []
        self.processes: list[NetraProcess] = []
        self._database_fails: deque[tuple[Reach, Failure]] = deque()
        self._clock = time_machine.travel(BEGINNING, tick=False)
        self._traveller = self._clock.start()
        self._logs = structlog.testing.capture_logs(processors=[_keep_exception])
        self.logs = self._logs.__enter__()
        self.loop = SimulatedLoop(seed=seed, perform=self._perform, on_time=self._on_time)
        self.layer = FaultyLayer(
            InMemoryChannelLayer(capacity=10_000, expiry=86_400),
            seed=seed,
            **dict.fromkeys(FAULTS, noise),
            delay_seconds=1.0,
        )
        self._earlier_layer: Any = channel_layers.set("default", self.layer)
        self.outside = contextvars.copy_context()
        self.stage.in_database(_clear)

    # ─ who is there

    @property
    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.loop.time())

    def start_process(self) -> NetraProcess:
        made = NetraProcess(self)
        self.processes.append(made)
        return made

    def kill(self, process: NetraProcess) -> None:
        self.counts["worker hindered"] += 1
        process.kill()
        self.processes.remove(process)
        for client in self.clients:
            client.server_died(process)

    def join(self, user: User) -> Client:
        made = Client(self, user, number=len(self.clients))
        self.clients.append(made)
        made.connect()
        return made

    def stop(self, process: Process) -> None:
        self.counts["worker hindered"] += 1
        process.stop()

    @property
    def living_puppets(self) -> list[Puppet]:
        return [puppet for puppet in self.puppets if puppet.is_alive]

    def process_of(self, puppet: Puppet) -> NetraProcess:
        return next(process for process in self.processes if process is puppet.process)

    # ─ what befalls them

    def fail_database(self, reach: Reach, failures: Sequence[Failure]) -> None:
        """What becomes of the next calls, or of the journal's next commits, one each."""
        self._database_fails += [(reach, failure) for failure in failures]
        self.counts["worker hindered"] += reach == "any"

    def prune(self, age: float) -> None:
        ended_before = self.now - timedelta(seconds=age)
        self.witness.pruned |= self.stage.in_database(_ended, ended_before)
        deleted = self.stage.in_database(lambda: sum(events for _, events in prune_events(ended_before=ended_before)))
        self.counts["pruned"] += bool(deleted)

    def heal(self) -> None:
        self.layer.outage = False
        self.layer.drop = self.layer.duplicate = self.layer.reorder = self.layer.delay = 0.0
        self.layer._script.clear()
        self._database_fails.clear()
        for process in self.processes:
            process.go_on()

    def end_runs(self, how: End) -> None:
        """Brings time on until all clients have their answers, and every run has ended: by its agent, or by whoever
        finds that its worker is gone."""
        end_by = self.now + timedelta(seconds=SECONDS_TO_END)
        while not self._has_come_to_its_end():
            assert self.now < end_by, "a run hangs, or a client gets no answer"
            for puppet in self.living_puppets:
                puppet.tell([(how,)])
            self.loop.run(PERIOD)
        self.loop.run(2 * HEARTBEAT)

    def _has_come_to_its_end(self) -> bool:
        is_live = self.stage.in_database(AgentExecution.objects.live().exists)
        return not is_live and all(client.has_its_answers for client in self.clients)

    def check(self) -> None:
        """All that must hold when everything is healed and every run has ended."""
        for entry in self.logs:
            is_outage = isinstance(entry.get("exception"), ConnectionError)
            assert entry["event"] not in NEVER_LOGGED or is_outage, f"{entry}"
        self.stage.in_database(self.witness.check_database)
        for run_id in self.witness.texts:
            require_lawful(self.witness.frames(run_id))
        for puppet in self.puppets:
            self._check_words(puppet)
        self._check_clients()

    def _check_clients(self) -> None:
        """First what each has heard of by itself, then the rest, for which it asks."""
        for client in self.clients:
            for run_id in self._runs_of(client):
                if self.witness.ended_at(run_id) > client.hello_at or client.reached[run_id]:
                    client.check(run_id)
            client.follow(self._runs_of(client))
        self.loop.run(1.0)
        for client in self.clients:
            for run_id in self._runs_of(client):
                client.check(run_id)
            assert client.has_its_answers
            assert client.connection is not None
            assert client.connection.refusals_due <= 0, "what is another user's was not refused"
            assert set(client.view) <= set(self._runs_of(client))

    def _check_words(self, puppet: Puppet) -> None:
        """What an attempt said is in the log from its beginning on; all of it, if it was this attempt that answered."""
        frames = self.witness.frames(puppet.run_id)
        thoughts = [f["data"]["reasoning"] for f in frames if f["type"] == "agent_thinking"]
        thoughts = [thought for thought in thoughts if thought.startswith(f"attempt {puppet.attempt},")]
        text = "".join(frame["data"]["delta"] for frame in frames if frame["type"] == "partial_result")
        words = [word for word in text.split() if word.startswith(f"{puppet.attempt}.")]
        if frames[-1]["data"]["status"] == "completed" and puppet.attempt == self.witness.attempts[puppet.run_id][0]:
            assert (thoughts, words) == (puppet.thoughts, puppet.text.split())
        else:
            assert thoughts == puppet.thoughts[: len(thoughts)]
            assert words == puppet.text.split()[: len(words)]

    def _runs_of(self, client: Client) -> list[str]:
        return [run_id for run_id, user in self.witness.user_of.items() if user == client.user.key]

    def close(self) -> None:
        self.loop.end()
        channel_layers.set("default", self._earlier_layer)
        self._logs.__exit__(None, None, None)
        self._clock.stop()

    # ─ behind the loop

    def _on_time(self, now: float) -> None:
        self._traveller.move_to(BEGINNING + timedelta(seconds=now))

    def _perform(self, process: Process | None, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        failure = self._failure_of(args)
        if failure == "refused":
            self.counts["database refused"] += 1
            raise OperationalError("database is locked")
        value = self.stage.in_database(self._do, process, function, args)
        if failure == "answer lost":
            self.counts["answer lost"] += 1
            raise OperationalError("server closed the connection unexpectedly")
        return value

    def _do(self, process: Process | None, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        value = function(*args)
        self.witness.note(process, args, value)
        return value

    def _failure_of(self, args: tuple[Any, ...]) -> Failure | None:
        if not self._database_fails:
            return None
        reach, failure = self._database_fails[0]
        if reach == "commit" and not (args and args[0] is commit):
            return None
        self._database_fails.popleft()
        return failure


async def _always() -> bool:
    """Health is not simulated: its probes have threads and times of their own."""
    return True


def _keep_exception(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    entry["exception"] = sys.exc_info()[1]
    return entry


def _make_user(name: str) -> User:
    user = get_user_model().objects.create_user(name)
    return User(user.pk, issue(user, AccessToken.Kind.API_TOKEN))


def _ended(before: datetime) -> set[str]:
    return set(AgentExecution.objects.filter(completed_at__lt=before).values_list("run_id", flat=True))


def _clear() -> None:
    with connection.cursor() as cursor:
        for model in TABLES:
            cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608 - a table of our own
