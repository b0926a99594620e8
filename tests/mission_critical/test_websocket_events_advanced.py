"""The five events where it hurts: parallel work, faults, lost sockets, large and strange payloads, many at once."""

import json
import socket
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, require_paired, types_of
from netra.testing.server import RunningNetra

pytestmark = pytest.mark.mission_critical

ENDLESS = {"tool": "sleep", "arguments": {"seconds": 60}}


def echo(**arguments: Any) -> dict[str, Any]:
    return {"tool": "echo", "arguments": arguments}


def nap(seconds: float) -> dict[str, Any]:
    return {"tool": "sleep", "arguments": {"seconds": seconds}}


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["data"]["delta"] for event in events if event["type"] == "partial_result")


@pytest.fixture
def other_chat(netra: RunningNetra) -> Iterator[Chat]:
    """A socket of bob's."""
    with netra.connect(netra.other_token) as chat:
        yield chat


class TestOrder:
    def test_parallel_tools_overlap_and_stay_paired(self, chat: Chat, netra: RunningNetra):
        events = chat.run({"parallel": [nap(0.05) for _ in range(8)]}, {"return": "done"})

        require_lawful(events)
        assert types_of(events)[2:10] == ["tool_executing"] * 8
        assert types_of(events)[10:18] == ["tool_completed"] * 8
        assert netra.logged(events[0]["run_id"]) == events

    def test_parallel_groups_in_parallel_groups_stay_in_order(self, chat: Chat, netra: RunningNetra):
        group = {"parallel": [echo(n=1), {"think": "Between."}, {"parallel": [echo(n=2), nap(0.01)]}]}
        talk = {"stream": "All of this at once.", "chunks": 5}

        events = chat.run({"parallel": [group, group, talk, echo(n=3)]}, {"return": "done"})

        require_lawful(events)
        assert types_of(events).count("tool_completed") == 7
        assert said(events) == "All of this at once."
        assert events[-1]["data"]["status"] == "completed"
        assert netra.logged(events[0]["run_id"]) == events

    def test_events_keep_the_order_in_which_the_agent_caused_them(self, chat: Chat):
        events = chat.run({"stream": "First."}, {"think": "Second."}, echo(third=1), {"stream": "Fourth."})

        assert [type_ for type_, _ in groupby(types_of(events)[2:])] == [
            "partial_result",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "partial_result",
            "agent_completed",
        ]

    def test_a_streamed_answer_joined_is_the_answer(self, chat: Chat):
        answer = "| a | b |\n|---|---|\n" + "| Ä | 語 |\n" * 500

        events = chat.run({"stream": answer, "chunks": 700}, {"return": answer})

        assert said(events) == answer == events[-1]["data"]["result"]["output"]
        assert [e["data"]["is_complete"] for e in events if e["type"] == "partial_result"][-1] is True
        assert types_of(events).count("partial_result") < 700


class TestFailureInjection:
    def test_one_failing_tool_of_many_in_parallel_ends_them_all(self, chat: Chat):
        events = chat.run({"parallel": [ENDLESS, ENDLESS, {"tool": "fail"}, echo(n=1)]})

        require_lawful(events)
        ends = [event["data"]["status"] for event in events if event["type"] == "tool_completed"]
        assert sorted(ends) == ["cancelled", "cancelled", "error", "success"]
        assert (events[-1]["data"]["status"], events[-1]["data"]["error"]["code"]) == ("failed", "tool_failed")

    def test_what_was_said_before_a_crash_is_kept(self, chat: Chat):
        events = chat.run({"stream": "As far as I came"}, {"raise": "the secret reason"})

        end = events[-1]["data"]
        assert (end["status"], end["result"]["success"], end["result"]["output"]) == (
            "failed",
            False,
            "As far as I came",
        )
        assert "secret reason" not in json.dumps(events)
        assert "Traceback" not in json.dumps(events)

    def test_a_run_out_of_time_closes_its_tools(self, chat: Chat):
        events = chat.run({"parallel": [ENDLESS, ENDLESS]}, timeout=1.0)

        require_lawful(events)
        assert events[-1]["data"]["status"] == "timed_out"
        assert types_of(events).count("tool_completed") == 2

    def test_failing_runs_hurt_no_other(self, chat: Chat, netra: RunningNetra):
        good = [chat.start_run(echo(n=n), {"return": n})["run_id"] for n in range(3)]
        bad = [chat.start_run({"raise": "a bug"})["run_id"] for _ in range(3)]
        stuck = [chat.start_run(ENDLESS, timeout=0.05)["run_id"] for _ in range(3)]

        ends = [chat.finish(run_id)[-1]["data"]["status"] for run_id in [*good, *bad, *stuck]]
        assert ends == ["completed"] * 3 + ["failed"] * 3 + ["timed_out"] * 3
        for run_id in [*good, *bad, *stuck]:
            require_lawful(chat.events(run_id))
            assert netra.logged(run_id) == chat.events(run_id)


class TestDisconnection:
    def test_a_run_goes_on_without_its_socket(self, netra: RunningNetra):
        with netra.connect() as first:
            run_id = first.start_run(echo(n=1), nap(0.1), {"stream": "The end."})["run_id"]
            first.wait_for(run_id, "tool_completed")
            seen = first.events(run_id)

        with netra.connect() as second:
            second.resume(**{run_id: seen[-1]["seq"]})
            second.finish(run_id)
            events = seen + second.view(run_id, seen[-1]["seq"])

            require_lawful(events)
            assert events[-1]["data"]["status"] == "completed"
            assert netra.logged(run_id) == events

    def test_a_socket_that_is_cut_off_hurts_nobody(self, chat: Chat, netra: RunningNetra):
        with netra.connect() as cut:
            run_id = cut.start_run({"emit": 200, "rate": 2000}, {"return": "done"})["run_id"]
            cut.socket.socket.shutdown(socket.SHUT_RDWR)

        chat.resume(**{run_id: 0})
        chat.finish(run_id)
        require_lawful(chat.view(run_id))
        assert netra.logged(run_id) == chat.view(run_id)

    def test_who_connects_in_mid_run_hears_the_rest_live(self, chat: Chat, netra: RunningNetra):
        run_id = chat.start_run({"stream": "The first part."}, ENDLESS)["run_id"]
        chat.wait_for(run_id, "tool_executing")

        with netra.connect() as late:
            (told,) = [run for run in late.established["runs"] if run["run_id"] == run_id]
            chat.send(type="cancel_run", run_id=run_id)
            rest = late.finish(run_id)

        assert (told["status"], told["phase"]) == ("running", "tool_execution")
        assert rest[0]["seq"] == told["last_seq"] + 1
        assert rest == chat.finish(run_id)[told["last_seq"] :]

    def test_rapid_connection_cycling_loses_and_doubles_nothing(self, netra: RunningNetra):
        run_ids = []
        for number in range(12):
            with netra.connect() as chat:
                run_ids.append(chat.start_run(echo(n=number))["run_id"])
        with netra.connect() as last:
            last.resume(**dict.fromkeys(run_ids, 0))
            for run_id in run_ids:
                last.finish(run_id)
                require_lawful(last.view(run_id))
                assert netra.logged(run_id) == last.view(run_id)


class TestPayloads:
    @pytest.mark.parametrize("size", [60_000, 70_000])
    def test_large_events_arrive_whole(self, chat: Chat, size: int):
        events = chat.run({"emit": 3, "bytes": size}, {"return": "done"})

        large = [event["data"]["reasoning"] for event in events[2:5]]
        assert [len(text) for text in large] == [size] * 3
        assert events[-1]["data"]["status"] == "completed"

    def test_a_message_of_60_kb_is_taken_and_comes_back_whole(self, chat: Chat):
        text = "Ä" * 15_000 + "x" * 30_000

        assert chat.run(echo(n=1), message=text)[0]["data"]["message"] == text
        events = chat.run(echo(text="y" * 60_000))
        assert events[2]["data"]["arguments"]["text"] == "y" * 60_000
        assert events[3]["data"]["result"]["text"] == "y" * 60_000

    def test_a_message_of_70_kb_is_refused_and_makes_no_run(self, chat: Chat, netra: RunningNetra):
        count = "SELECT count(*) AS runs FROM agents_agentexecution"
        before = netra.rows(count)

        assert chat.start_agent(echo(text="y" * 70_000))["code"] == "message_too_large"
        assert netra.rows(count) == before
        require_lawful(chat.run(echo(n=1)))

    def test_results_over_the_limit_of_a_frame_are_cut_and_say_so(self, chat: Chat):
        events = chat.run({"emit": 1, "bytes": 300_000}, {"stream": "\x01" * 9_000, "chunks": 2})

        require_lawful(events)
        assert "[cut, 300,000 characters in all]" in events[2]["data"]["reasoning"]
        assert said(events) == "\x01" * 9_000
        assert max(len(json.dumps(event)) for event in events) < 262_144


@pytest.mark.parametrize(
    "text",
    [
        "a NUL\0in the middle",
        "שלום עולם \u202eright to left\u202c مرحبا",
        "<script>alert('no')</script> & \"quotes\" \\ `ticks`",
        "👩\u200d👩\u200d👧 \U0001f600 e\u0301 語",
        "line\nbreak\r\ttab \u2028 \x1b[31m \x7f",
        "{{ template }} %s {0} ${x} '; DROP TABLE runs; --",
    ],
    ids=["NUL", "right-to-left", "markup", "combined", "control", "code"],
)
def test_any_text_comes_back_as_it_was(chat: Chat, netra: RunningNetra, text: str):
    events = chat.run(
        {"think": text},
        echo(text=text, **{f"key {text}": [text]}),
        {"stream": text, "chunks": len(text)},
        {"return": {text: text}},
        message=text,
        request_id=f"unicode {text}"[:64],
    )

    require_lawful(events)
    assert events[0]["data"]["message"] == text
    assert events[2]["data"]["reasoning"] == text
    assert events[3]["data"]["arguments"] == {"text": text, f"key {text}": [text]}
    assert events[4]["data"]["result"] == {"text": text, f"key {text}": [text]}
    assert said(events) == text
    assert events[-1]["data"]["result"]["output"] == {text: text}
    assert netra.logged(events[0]["run_id"]) == events


class TestIsolation:
    def test_no_frame_of_one_user_reaches_another(self, chat: Chat, other_chat: Chat):
        mine = [chat.start_run(echo(whose="alice's"), {"emit": 100, "rate": 5000})["run_id"] for _ in range(5)]
        others = [other_chat.start_run(echo(whose="bob's"), {"emit": 100, "rate": 5000})["run_id"] for _ in range(5)]
        for side, run_ids in ((chat, mine), (other_chat, others)):
            for run_id in run_ids:
                require_lawful(side.finish(run_id))

        assert not any(run_id in json.dumps(other_chat.frames) for run_id in mine)
        assert not any(run_id in json.dumps(chat.frames) for run_id in others)
        assert "alice's" not in json.dumps(other_chat.frames)
        assert "bob's" not in json.dumps(chat.frames)

    def test_the_same_request_id_of_two_users_is_two_runs(self, chat: Chat, other_chat: Chat):
        events = [side.run({"return": 1}, request_id="one for each of us") for side in (chat, other_chat)]

        assert events[0][0]["run_id"] != events[1][0]["run_id"]
        assert events[0][0]["thread_id"] != events[1][0]["thread_id"]

    def test_requests_of_one_user_do_not_mix(self, chat: Chat):
        accepted = [
            chat.start_run({"think": f"run {n}"}, echo(n=n), {"stream": f"answer {n}"}, {"return": n}, message=f"{n}")
            for n in range(15)
        ]

        for number, answer in enumerate(accepted):
            events = chat.finish(answer["run_id"])
            require_lawful(events)
            assert {event["thread_id"] for event in events} == {answer["thread_id"]}
            assert events[0]["data"]["message"] == f"{number}"
            assert events[2]["data"]["reasoning"] == f"run {number}"
            assert events[3]["data"]["arguments"] == {"n": number}
            assert said(events) == f"answer {number}"
            assert events[-1]["data"]["result"]["output"] == number

    def test_a_request_sent_twice_is_one_run(self, chat: Chat, netra: RunningNetra):
        with netra.connect() as again:
            first = chat.start_run({"return": 1}, request_id="sent twice")
            second = again.start_run({"return": 1}, request_id="sent twice")

        assert (first["duplicate"], second["duplicate"]) == (False, True)
        assert second["run_id"] == first["run_id"]
        require_lawful(chat.finish(first["run_id"]))
        refused = chat.start_agent({"return": 2}, request_id="sent twice")
        assert refused["code"] == "request_id_reused"


@pytest.mark.benchmark
class TestPerformanceBenchmarks:
    """Counts only: what must hold on any machine. Times are `make bench`'s."""

    def test_ten_thousand_events_none_lost_and_memory_bounded(self, chat: Chat, netra: RunningNetra):
        chat.run({"emit": 500})
        before = netra.memory_mb()

        events = chat.run({"emit": 10_000, "bytes": 200}, {"return": "done"})

        require_lawful(events)
        assert len(events) == 10_003
        assert [int(e["data"]["reasoning"].strip(".").split()[1]) for e in events[2:-1]] == list(range(1, 10_001))
        assert netra.memory_mb() - before < 100
        (log,) = netra.rows(
            "SELECT count(*) AS events, max(seq) AS last, min(seq) AS first FROM agents_executionevent"
            " WHERE execution_id = (SELECT id FROM agents_agentexecution WHERE run_id = ?)",
            events[0]["run_id"],
        )
        assert log == {"events": 10_003, "first": 1, "last": 10_003}

    def test_twenty_runs_at_once_lose_nothing(self, chat: Chat, other_chat: Chat, netra: RunningNetra):
        sides = (chat, other_chat)
        runs = [
            (side, side.start_run({"emit": 100}, {"parallel": [echo(n=n)] * 4}, {"return": n})["run_id"])
            for n in range(10)
            for side in sides
        ]

        for side, run_id in runs:
            events = side.finish(run_id)
            require_lawful(events)
            assert len(events) == 111
        for side in sides:
            require_paired([frame for frame in side.frames if "seq" in frame])
            places = [(frame["run_id"], frame["seq"]) for frame in side.frames if "seq" in frame]
            assert len(places) == len(set(places)) == 1_110

    def test_a_socket_that_reads_late_gets_everything(self, chat: Chat, netra: RunningNetra):
        with netra.connect() as lazy:
            events = chat.run({"emit": 3_000, "bytes": 100})

            assert lazy.finish(events[0]["run_id"]) == events
        require_lawful(events)
