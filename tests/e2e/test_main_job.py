"""The main job, end to end: a server as `make run` starts it, real sockets, its database, kill -9 and SIGTERM."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, types_of
from netra.testing.server import RunningNetra

pytestmark = pytest.mark.e2e

ENDLESS = {"tool": "sleep", "arguments": {"seconds": 60}}
SECRETS = {
    "password": "p1-hidden",
    "Authorization": "p2-hidden",
    "nested": [{"access_token": "p3-hidden", "max_tokens": 5}, {"deep": {"clientSecret": {"a": "p4-hidden"}}}],
}
SHOWN = {
    "password": "[redacted]",
    "Authorization": "[redacted]",
    "nested": [{"access_token": "[redacted]", "max_tokens": 5}, {"deep": {"clientSecret": "[redacted]"}}],
}


@pytest.fixture
def other_chat(netra: RunningNetra) -> Iterator[Chat]:
    """A socket of bob's."""
    with netra.connect(netra.other_token) as chat:
        yield chat


def test_the_main_job(chat: Chat, netra: RunningNetra):
    accepted = chat.start_run(
        {"tool": "echo", "arguments": SECRETS}, {"return": "done"}, message="Do it.", request_id="the main job"
    )
    run_id = accepted["run_id"]
    events = chat.finish(run_id)

    assert accepted | {"run_id": "", "thread_id": ""} == {
        "type": "run_accepted",
        "request_id": "the main job",
        "run_id": "",
        "thread_id": "",
        "duplicate": False,
        "queue_position": 0,
    }
    assert chat.frames.index(accepted) < chat.frames.index(events[0])
    require_lawful(events)
    assert types_of(events) == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    assert events[0]["data"]["message"] == "Do it."
    assert events[2]["data"]["arguments"] == SHOWN == events[3]["data"]["result"]
    assert netra.logged(run_id) == events
    assert len(netra.transitions(run_id)) == 9 == events[-1]["data"]["result"]["phase_count"]
    completions = netra.rows(
        "SELECT count(*) AS n FROM agents_executionevent v JOIN agents_agentexecution e ON e.id = v.execution_id"
        " WHERE e.run_id = ? AND v.type = 'agent_completed'",
        run_id,
    )
    assert completions == [{"n": 1}]
    assert not netra.rows("SELECT 1 FROM agents_executionevent WHERE frame LIKE '%-hidden%'")


def test_a_thread_goes_on(chat: Chat, netra: RunningNetra):
    first = chat.start_run({"tool": "sleep", "arguments": {"seconds": 0.1}})
    second = chat.start_run({"return": 2}, thread_id=first["thread_id"])

    assert second["thread_id"] == first["thread_id"]
    assert second["run_id"] != first["run_id"]
    assert second["queue_position"] == 1
    require_lawful(chat.finish(second["run_id"]))
    require_lawful(chat.events(first["run_id"]))
    order = [frame["run_id"] for frame in chat.frames if frame["type"] in {"agent_started", "agent_completed"}]
    assert order == [first["run_id"]] * 2 + [second["run_id"]] * 2
    threads = netra.rows(
        "SELECT DISTINCT thread_id FROM agents_agentexecution WHERE run_id IN (?, ?)", first["run_id"], second["run_id"]
    )
    assert len(threads) == 1


def test_a_second_socket_cancels_and_both_tabs_see_the_same(chat: Chat, netra: RunningNetra):
    run_id = chat.start_run({"stream": "So far."}, ENDLESS)["run_id"]
    chat.wait_for(run_id, "tool_executing")

    with netra.connect() as other:
        other.resume(**{run_id: 0})
        answer = other.ask(type="cancel_run", run_id=run_id)
        other.finish(run_id)

        assert answer == {"type": "cancel_accepted", "run_id": run_id, "status": "running"}
        assert other.view(run_id) == chat.finish(run_id) == netra.logged(run_id)
        assert other.ask(type="cancel_run", run_id=run_id)["status"] == "cancelled"
    require_lawful(chat.events(run_id))
    assert chat.events(run_id)[-1]["data"]["status"] == "cancelled"
    assert chat.events(run_id)[-1]["data"]["result"]["output"] == "So far."


def test_a_run_that_waits_is_cancelled_before_it_starts(chat: Chat):
    first = chat.start_run(ENDLESS)
    second = chat.start_run({"return": 2}, thread_id=first["thread_id"])

    chat.send(type="cancel_run", run_id=second["run_id"])
    events = chat.finish(second["run_id"])

    assert types_of(events) == ["agent_completed"]
    assert events[0]["data"]["status"] == "cancelled"
    chat.send(type="cancel_run", run_id=first["run_id"])
    require_lawful(chat.finish(first["run_id"]))


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "ended"])
def test_no_verb_reaches_another_users_run(chat: Chat, other_chat: Chat, netra: RunningNetra, is_live: bool):
    accepted = chat.start_run(ENDLESS if is_live else {"tool": "echo"})
    run_id, thread_id = accepted["run_id"], accepted["thread_id"]
    chat.wait_for(run_id, "tool_executing" if is_live else "agent_completed")
    before = netra.run_row(run_id)

    refused = [
        other_chat.start_agent({"return": 1}, thread_id=thread_id, request_id=f"not mine {is_live}"),
        other_chat.ask(type="cancel_run", run_id=run_id),
    ]
    assert [(answer["type"], answer["code"]) for answer in refused] == [("error", "not_found")] * 2
    assert (refused[0]["field"], refused[1]["run_id"]) == ("thread_id", run_id)
    error, caught_up = other_chat.resume(**{run_id: 0})
    assert (error["code"], error["run_id"], caught_up["runs"]) == ("not_found", run_id, {})
    other_chat.send(type="ack", cursors={run_id: 1})
    assert other_chat.ask(type="ping", id="after ack")["id"] == "after ack"

    unknown = other_chat.ask(type="cancel_run", run_id=run_id[:-1] + ("0" if run_id[-1] != "0" else "1"))
    assert unknown | {"run_id": run_id} == refused[1]  # a foreign id answers like an unknown one
    after = netra.run_row(run_id)
    moving = {"lease_expires_at": None}
    assert after | moving == before | moving
    with netra.connect(netra.other_token) as fresh:
        assert run_id not in [run["run_id"] for run in fresh.established["runs"]]
    assert other_chat.start_run({"return": 1}, request_id=f"not mine {is_live}")["duplicate"] is False
    if is_live:
        chat.send(type="cancel_run", run_id=run_id)
        chat.finish(run_id)
    assert not [frame for frame in other_chat.frames if "seq" in frame and frame["run_id"] == run_id]


class TestResume:
    def test_every_cursor_of_an_ended_run_replays_the_log_from_there(self, chat: Chat, netra: RunningNetra):
        events = chat.run({"tool": "echo"}, {"stream": "Some text.", "chunks": 4})
        run_id, log = events[0]["run_id"], netra.logged(events[0]["run_id"])

        for cursor in range(len(log) + 1):
            *replay, caught_up = chat.resume(**{run_id: cursor})
            assert replay == log[cursor:]
            assert caught_up["runs"] == {run_id: len(log)}

    def test_a_live_run_is_replayed_and_goes_on_live(self, chat: Chat, netra: RunningNetra):
        run_id = chat.start_run({"emit": 700}, {"tool": "echo"}, ENDLESS)["run_id"]
        chat.wait_for(run_id, "tool_completed")

        with netra.connect() as late:
            late.resume(**{run_id: 350})
            chat.send(type="cancel_run", run_id=run_id)
            late.finish(run_id)

            assert late.events(run_id)[0]["seq"] == 351
            assert late.view(run_id, 350) == netra.logged(run_id)[350:]
        require_lawful(chat.finish(run_id))

    def test_a_cursor_above_the_head_is_refused_and_the_others_are_served(self, chat: Chat):
        one, two = (chat.run({"return": n})[0]["run_id"] for n in range(2))

        frames = chat.resume(**{one: 99, two: 1, "run_nonsense": 0})

        errors = {frame["run_id"]: frame["code"] for frame in frames if frame["type"] == "error"}
        assert errors == {one: "invalid_cursor", "run_nonsense": "not_found"}
        assert [frame["seq"] for frame in frames if "seq" in frame] == [2, 3]
        assert frames[-1]["runs"] == {two: 3}

    def test_no_cursors_are_answered_by_an_empty_caught_up(self, chat: Chat):
        assert chat.resume() == [{"type": "caught_up", "id": "resume-1", "runs": {}}]

    def test_a_head_tells_of_live_runs_in_silence(self, chat: Chat):
        run_id = chat.start_run({"emit": 20}, ENDLESS)["run_id"]
        chat.wait_for(run_id, "tool_executing")
        last = chat.events(run_id)[-1]["seq"]

        while (head := chat.receive_until("head")["runs"]).get(run_id) != last:
            assert head.get(run_id, 0) < last
        chat.send(type="cancel_run", run_id=run_id)
        chat.finish(run_id)
        assert chat.receive_until("head")["runs"][run_id] == last + 2
        require_lawful(chat.events(run_id))


class TestCrash:
    @pytest.fixture
    def netra(self, tmp_path: Any) -> Iterator[RunningNetra]:
        """A Netra of its own, whose leases are short."""
        with RunningNetra(tmp_path, NETRA_LEASE_SECONDS="3", NETRA_LEASE_RENEW_SECONDS="1") as netra:
            yield netra

    def test_after_kill_9_runs_are_lost_or_go_on_and_clients_know(self, netra: RunningNetra):
        pause = {"tool": "sleep", "arguments": {"seconds": 1}}
        with netra.connect() as chat:
            ended = chat.run({"return": 0})
            lost = chat.start_run({"stream": "Half"}, ENDLESS)
            restarted = chat.start_run({"stream": "Try. "}, pause, {"return": "done"}, params={"restartable": True})
            waiting = chat.start_run({"return": 2}, thread_id=lost["thread_id"])
            for accepted in (lost, restarted):
                chat.wait_for(accepted["run_id"], "tool_executing")
            netra.kill()
            seen = {accepted["run_id"]: chat.events(accepted["run_id"]) for accepted in (lost, restarted, waiting)}
        assert [run for run in seen if types_of(seen[run])[-1:] == ["agent_completed"]] == []

        netra.run_server()
        with netra.connect() as chat:
            chat.resume(**{run_id: len(events) for run_id, events in seen.items()})
            for run_id in (lost["run_id"], restarted["run_id"], waiting["run_id"]):
                chat.finish(run_id, seconds=10)
            views = {run_id: events + chat.view(run_id, len(events)) for run_id, events in seen.items()}
            assert chat.resume(**{ended[0]["run_id"]: 0})[:-1] == ended

        for run_id, events in views.items():
            require_lawful(events)
            assert netra.logged(run_id) == events
        end = views[lost["run_id"]][-1]
        assert (end["data"]["status"], end["data"]["error"]["code"]) == ("lost", "lost")
        assert end["data"]["result"]["output"] == "Half"
        assert views[lost["run_id"]][-2]["data"]["status"] == "error"
        assert views[waiting["run_id"]][-1]["data"]["status"] == "completed"

        events = views[restarted["run_id"]]
        assert events[-1]["data"]["status"] == "completed"
        assert events[-1]["data"]["result"]["output"] == "done"
        recovered = [event for event in events if event["type"] == "run_recovered"]
        assert [event["data"]["attempt"] for event in recovered] == [2]
        assert recovered[0]["seq"] == len(seen[restarted["run_id"]]) + 1
        ends = [event["data"]["status"] for event in events if event["type"] == "tool_completed"]
        assert ends == ["error", "success"]
        rows = {run_id: netra.run_row(run_id) for run_id in views}
        assert rows[restarted["run_id"]]["attempt"] == 2
        assert rows[lost["run_id"]]["status"] == "lost"

    def test_sigterm_lets_a_short_run_end(self, netra: RunningNetra):
        with netra.connect() as chat:
            short = chat.start_run({"tool": "sleep", "arguments": {"seconds": 1}}, {"return": "done"})["run_id"]
            chat.wait_for(short, "tool_executing")
            netra.signal(signal.SIGTERM)
            events = chat.finish(short)
            code = chat.receive_all()

        assert netra.wait() == 0
        require_lawful(events)
        assert (events[-1]["data"]["status"], events[-1]["data"]["result"]["output"]) == ("completed", "done")
        assert netra.logged(short) == events
        assert code == 1012

    @pytest.mark.slow
    def test_sigterm_ends_the_process_cleanly_whoever_is_connected(self, netra: RunningNetra):
        """Five times: a socket's task that is still there when Python goes down crashes it about every second time."""
        for _ in range(5):
            with netra.connect() as chat:
                netra.signal(signal.SIGTERM)
                assert chat.receive_all() == 1012
            assert netra.wait() == 0, netra.log.read_text()[-2000:]
            netra.run_server()

    @pytest.mark.slow
    def test_sigterm_ends_what_does_not_end_in_time(self, tmp_path: Any):
        with RunningNetra(tmp_path, NETRA_STOP_GRACE_SECONDS="0.5") as netra:
            with netra.connect() as chat:
                endless = chat.start_run(ENDLESS)["run_id"]
                again = chat.start_run(ENDLESS, params={"restartable": True})["run_id"]
                for run_id in (endless, again):
                    chat.wait_for(run_id, "tool_executing")
                netra.signal(signal.SIGTERM)
                chat.receive_all()
            assert netra.wait() == 0

            assert netra.logged(endless)[-1]["data"]["status"] == "lost"
            require_lawful(netra.logged(endless))
            assert netra.run_row(again)["status"] == "running"  # the next process goes on with it, at once
            netra.run_server()
            with netra.connect() as chat:
                chat.resume(**{again: 0})
                assert chat.wait_for(again, "run_recovered")["data"]["attempt"] == 2
                chat.send(type="cancel_run", run_id=again)
                chat.finish(again)
                require_lawful(chat.view(again))
