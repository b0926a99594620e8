"""Netra's promise, whatever happens in whatever order: what each client has is the log, and each run ends once.

Hypothesis makes the order: runs start and speak, transactions fail, the layer loses, doubles and reorders, sockets
break, processes are stopped and killed, others take over, users cancel, old events are pruned. Nothing is simulated but
the sockets, the clock and the threads (tests/simulation).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from notifications.cursors import Frame
from tests.simulation.clients import Client
from tests.simulation.loop import State
from tests.simulation.puppets import End, Order, Puppet
from tests.simulation.world import LEASE, PERIOD, SETTINGS, Failure, Reach, Stage, World

FULL = 500
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES") or (FULL if os.environ.get("CI") == "true" else 30))
STEPS = 16
MOST_RUNS, MOST_CLIENTS, MOST_PROCESSES = 6, 5, 3

MUST_HAPPEN = (
    "takeover,fenced,gap,reconnect,duplicate request,database refused,answer lost,outage,drop,duplicate,reorder,delay"
).split(",")
"""What a machine that proves anything meets in one of fifty examples at least."""

which = st.integers(0, 11)
agents = st.sampled_from(["puppet", "phoenix", "phoenix"])
orders = st.lists(st.sampled_from(["think", "write", "begin tool", "end tool", "fail tool"]), min_size=1, max_size=6)
turns = st.sampled_from([None, None, None, 0, 1, 2, 3, 5, 8, 13, 21])
"""How far things go on before the next thing happens; None: until nothing is left to do."""
seconds = st.sampled_from([0.1, 1.0, 2.5, 5.0])


class NetraMachine(RuleBasedStateMachine):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    @initialize(
        seed=st.integers(0, 1_000),
        noise=st.sampled_from([0.0, 0.0, 0.1, 0.2]),
        processes=st.integers(1, 2),
        clients=st.integers(1, 3),
        runs=st.lists(agents, max_size=2),
    )
    def begin(self, seed: int, noise: float, processes: int, clients: int, runs: list[str]) -> None:
        """`noise`: how probable each fault of the layer is, besides those that `fail_layer` makes."""
        self.world = World(self.stage, seed=seed, noise=noise)
        self.requests: list[tuple[int, dict[str, Any]]] = []
        for _ in range(processes):
            self.world.start_process()
        for number in range(clients):
            self.world.join(self.stage.users[number % 2])
        for number, agent in enumerate(runs):
            self.ask(number, agent)
        self.world.loop.run()

    # ─ users

    @rule(who=which, agent=agents, turns=turns)
    @precondition(lambda self: len(self.requests) < MOST_RUNS)
    def start(self, who: int, agent: str, turns: int | None) -> None:
        self.ask(who, agent)
        self.go_on(turns)

    @rule(who=which, run=which, turns=turns)
    @precondition(lambda self: self.requests)
    def start_again(self, who: int, run: int, turns: int | None) -> None:
        user, request = self.requests[run % len(self.requests)]
        mine = [client for client in self.clients if client.user.key == user]
        mine[who % len(mine)].start(request)
        self.go_on(turns)

    @rule(who=which, run=which, turns=turns)
    @precondition(lambda self: self.world.witness.texts)
    def cancel(self, who: int, run: int, turns: int | None) -> None:
        client, run_id = self.pick_run_of_client(who, run)
        client.cancel(run_id)
        self.go_on(turns)

    @rule(who=which, run=which, places=st.lists(st.integers(0, 5), min_size=1, max_size=2), turns=turns)
    @precondition(lambda self: self.world.witness.texts)
    def resume(self, who: int, run: int, places: list[int], turns: int | None) -> None:
        client, run_id = self.pick_run_of_client(who, run)
        for place in places:
            client.resume({run_id: min(place, client.reached[run_id])})
        self.go_on(turns)

    @rule(who=which, run=which, turns=turns)
    @precondition(lambda self: self.world.witness.texts)
    def read_from_the_start(self, who: int, run: int, turns: int | None) -> None:
        client, run_id = self.pick_run_of_client(who, run)
        client.read(run_id)
        self.go_on(turns)

    @rule(who=which, run=which)
    @precondition(lambda self: self.world.witness.texts)
    def pry(self, who: int, run: int) -> None:
        client = self.clients[who % len(self.clients)]
        others = [run_id for run_id, user in self.world.witness.user_of.items() if user != client.user.key]
        if others:
            client.pry(others[run % len(others)])
            self.go_on(None)

    @rule(who=which, turns=turns)
    def hang_up(self, who: int, turns: int | None) -> None:
        self.clients[who % len(self.clients)].hang_up()
        self.go_on(turns)

    @rule(who=which, turns=turns)
    def connect(self, who: int, turns: int | None) -> None:
        self.clients[who % len(self.clients)].connect()
        self.go_on(turns)

    @rule(who=which, turns=turns)
    @precondition(lambda self: len(self.clients) < MOST_CLIENTS)
    def join(self, who: int, turns: int | None) -> None:
        self.world.join(self.stage.users[who % 2])
        self.go_on(turns)

    # ─ agents

    @rule(run=which, orders=orders, turns=turns)
    @precondition(lambda self: self.world.living_puppets)
    def speak(self, run: int, orders: list[Order], turns: int | None) -> None:
        self.pick_puppet(run).tell(orders)
        self.go_on(turns)

    @rule(run=which, how=st.sampled_from(["answer", "answer", "nothing", "refuse", "crash", "no JSON"]), turns=turns)
    @precondition(lambda self: self.world.living_puppets)
    def end(self, run: int, how: End, turns: int | None) -> None:
        self.pick_puppet(run).tell([(how,)])
        self.go_on(turns)

    # ─ what goes wrong

    @rule(
        reach=st.sampled_from(["commit", "commit", "any"]),
        failures=st.lists(st.sampled_from(["refused", "answer lost"]), min_size=1, max_size=3),
        run=which,
        orders=orders,
        turns=turns,
    )
    def fail_database(
        self, reach: Reach, failures: list[Failure], run: int, orders: list[Order], turns: int | None
    ) -> None:
        self.world.fail_database(reach, failures)
        if self.world.living_puppets:
            self.speak(run, orders, turns)

    @rule(fates=st.lists(st.sampled_from(["drop", "duplicate", "reorder", "delay", "pass"]), min_size=1, max_size=5))
    def fail_layer(self, fates: list[Any]) -> None:
        self.world.layer.script(*fates)

    @rule()
    def switch_layer(self) -> None:
        self.world.layer.outage = not self.world.layer.outage

    @rule(process=which, turns=turns)
    @precondition(lambda self: self.world.processes)
    def stop_or_go_on(self, process: int, turns: int | None) -> None:
        one = self.world.processes[process % len(self.world.processes)]
        if one.state is State.RUNNING:
            self.world.stop(one)
        else:
            one.go_on()
        self.go_on(turns)

    @rule(process=which, turns=turns)
    @precondition(lambda self: self.world.processes)
    def kill(self, process: int, turns: int | None) -> None:
        self.world.kill(self.world.processes[process % len(self.world.processes)])
        self.go_on(turns)

    @rule(run=which, turns=turns)
    @precondition(lambda self: self.world.living_puppets)
    def die_at_work(self, run: int, turns: int | None) -> None:
        self.world.kill(self.world.process_of(self.pick_puppet(run)))
        self.let_others_take_over()
        self.go_on(turns)

    @rule(run=which, orders=orders, how=st.sampled_from([None, "answer", "crash"]), late=turns, turns=turns)
    @precondition(lambda self: self.world.living_puppets)
    def oversleep(self, run: int, orders: list[Order], how: End | None, late: int | None, turns: int | None) -> None:
        """A worker wakes up when its runs are another's, so many turns ago, and does what it was about to do."""
        puppet = self.pick_puppet(run)
        self.world.stop(puppet.process)
        puppet.tell([*orders, *([(how,)] if how else [])])
        self.let_others_take_over(late)
        puppet.process.go_on()
        self.go_on(turns)

    @rule(turns=turns)
    @precondition(lambda self: len(self.world.processes) < MOST_PROCESSES)
    def start_process(self, turns: int | None) -> None:
        self.world.start_process()
        self.go_on(turns)

    # ─ time

    @rule(seconds=seconds)
    def wait(self, seconds: float) -> None:
        self.world.loop.run(seconds)

    @rule(age=st.sampled_from([0, 0, 5]))
    @precondition(lambda self: self.world.witness.ended)
    def prune(self, age: float) -> None:
        self.world.prune(age)

    @rule(who=which, run=which, turns=turns)
    @precondition(lambda self: self.world.living_puppets)
    def read_what_was_pruned(self, who: int, run: int, turns: int | None) -> None:
        puppet = self.pick_puppet(run)
        puppet.tell([("answer",)])
        self.world.loop.run(1.0)
        self.world.prune(0)
        self.pick_client_of(puppet.run_id, who).read(puppet.run_id)
        self.go_on(turns)

    # ─ the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if not self.world.loop.failures:
                self.finish()
        finally:
            self.world.close()

    def finish(self) -> None:
        world = self.world
        world.heal()
        if not world.processes:
            world.start_process()
        world.end_runs("answer")
        world.check()
        self.stage.seen.update({"example", *+world.counts, *+world.layer.counts})

    # ─

    @property
    def clients(self) -> list[Client]:
        return self.world.clients

    def ask(self, who: int, agent: str) -> None:
        client = self.clients[who % len(self.clients)]
        request = {"type": "start_agent", "request_id": f"r{len(self.requests)}", "agent": agent, "message": "Go."}
        self.requests.append((client.user.key, request))
        client.start(request)

    def let_others_take_over(self, turns: int | None = None) -> None:
        if not any(process.state is State.RUNNING for process in self.world.processes):
            self.world.start_process()
        self.world.witness.on_takeover = None if turns is None else lambda: self.world.loop.stop_after(turns)
        self.world.loop.run(LEASE + 2 * PERIOD)
        self.world.witness.on_takeover = None

    def pick_puppet(self, run: int) -> Puppet:
        puppets = self.world.living_puppets
        return puppets[run % len(puppets)]

    def pick_run_of_client(self, who: int, run: int) -> tuple[Client, str]:
        runs = list(self.world.witness.texts)
        run_id = runs[run % len(runs)]
        return self.pick_client_of(run_id, who), run_id

    def pick_client_of(self, run_id: str, who: int) -> Client:
        mine = [client for client in self.clients if client.user.key == self.world.witness.user_of[run_id]]
        return mine[who % len(mine)]

    def go_on(self, turns: int | None) -> None:
        self.world.loop.run(turns=turns)


@pytest.fixture
def stage(transactional_db: None) -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def test_the_same_happens_again_with_the_same_seed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody could look for the reason of what the next test has found, and Hypothesis itself gives up."""
    seen: list[tuple[int, str, object]] = []
    take = Client.take

    def note(client: Client, frame: Frame) -> None:
        seen.append((client.number, frame["type"], frame.get("seq")))
        take(client, frame)

    monkeypatch.setattr(Client, "take", note)
    with override_settings(**SETTINGS):
        first, second = (_happen(stage, seen) for _ in range(2))
    assert first == second


def _happen(stage: Stage, seen: list[tuple[int, str, object]]) -> list[tuple[int, str, object]]:
    seen.clear()
    world = World(stage, seed=7, noise=0.2)
    try:
        for _ in range(2):
            world.start_process()
        for _ in range(6):
            world.join(stage.users[0])
        for number, client in enumerate(world.clients):
            client.start({"type": "start_agent", "request_id": f"r{number}", "agent": "phoenix", "message": "Go."})
        world.loop.run(1.0)
        for puppet in world.living_puppets:
            puppet.tell(["think", "write", "begin tool"])
        world.loop.run(1.0)
        world.kill(world.processes[0])
        world.start_process()
        world.heal()
        world.end_runs("answer")
        return list(seen)
    finally:
        world.close()


@pytest.mark.timeout(900)
def test_whatever_happens_every_client_has_the_log_and_every_run_ends_once(stage: Stage) -> None:
    with override_settings(**SETTINGS):
        run_state_machine_as_test(
            lambda: NetraMachine(stage),  # type: ignore[arg-type]  # it calls whatever makes one
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            ),
        )
    print(stage.describe())  # noqa: T201 - what `pytest -s` is asked for
    if EXAMPLES >= FULL:
        assert not stage.rarely(*MUST_HAPPEN), stage.describe()
