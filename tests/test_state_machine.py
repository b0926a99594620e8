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
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.simulation.loop import State
from tests.simulation.puppets import End, Order
from tests.simulation.world import SETTINGS, Failure, Reach, Stage, World

EXAMPLES = 500 if os.environ.get("CI") == "true" else 60
STEPS = 30
MOST_RUNS, MOST_CLIENTS, MOST_PROCESSES = 6, 5, 3

which = st.integers(0, 11)
turns = st.sampled_from([None, None, None, 0, 1, 2, 3, 5, 8, 13, 21])
"""How far things go on before the next thing happens; None: until nothing is left to do."""
seconds = st.sampled_from([0.1, 1.0, 3.5, 7.0])


class NetraMachine(RuleBasedStateMachine):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    @initialize(seed=st.integers(0, 1_000), processes=st.integers(1, 2), clients=st.integers(1, 3))
    def begin(self, seed: int, processes: int, clients: int) -> None:
        self.world = World(self.stage, seed=seed)
        self.requests: list[tuple[int, dict[str, Any]]] = []
        for _ in range(processes):
            self.world.start_process()
        for number in range(clients):
            self.world.join(self.stage.users[number % 2])
        self.world.loop.run()

    # ─ users

    @rule(who=which, agent=st.sampled_from(["puppet", "phoenix", "phoenix"]), turns=turns)
    @precondition(lambda self: len(self.requests) < MOST_RUNS)
    def start(self, who: int, agent: str, turns: int | None) -> None:
        client = self.clients[who % len(self.clients)]
        request = {"type": "start_agent", "request_id": f"r{len(self.requests)}", "agent": agent, "message": "Go."}
        self.requests.append((client.user.key, request))
        client.start(request)
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

    @rule(
        run=which,
        orders=st.lists(
            st.sampled_from(["think", "write", "begin tool", "end tool", "fail tool"]), min_size=1, max_size=6
        ),
        turns=turns,
    )
    @precondition(lambda self: self.world.living_puppets)
    def speak(self, run: int, orders: list[Order], turns: int | None) -> None:
        puppets = self.world.living_puppets
        puppets[run % len(puppets)].tell(orders)
        self.go_on(turns)

    @rule(run=which, how=st.sampled_from(["answer", "answer", "nothing", "refuse", "crash", "no JSON"]), turns=turns)
    @precondition(lambda self: self.world.living_puppets)
    def end(self, run: int, how: End, turns: int | None) -> None:
        puppets = self.world.living_puppets
        puppets[run % len(puppets)].tell([(how,)])
        self.go_on(turns)

    # ─ what goes wrong

    @rule(
        reach=st.sampled_from(["commit", "commit", "any"]),
        failures=st.lists(st.sampled_from(["refused", "answer lost"]), min_size=1, max_size=3),
    )
    def fail_database(self, reach: Reach, failures: list[Failure]) -> None:
        self.world.fail_database(reach, failures)

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
            one.stop()
        else:
            one.go_on()
        self.go_on(turns)

    @rule(process=which, turns=turns)
    @precondition(lambda self: self.world.processes)
    def kill(self, process: int, turns: int | None) -> None:
        self.world.kill(self.world.processes[process % len(self.world.processes)])
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
        for kind, count in world.counts.items():
            if count:
                event(kind)

    # ─

    @property
    def clients(self) -> Any:
        return self.world.clients

    def pick_run_of_client(self, who: int, run: int) -> Any:
        runs = list(self.world.witness.texts)
        run_id = runs[run % len(runs)]
        mine = [client for client in self.clients if client.user.key == self.world.witness.user_of[run_id]]
        return mine[who % len(mine)], run_id

    def go_on(self, turns: int | None) -> None:
        self.world.loop.run(turns=turns)


@pytest.fixture
def stage(transactional_db: None) -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


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
