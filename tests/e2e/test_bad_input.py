"""Whatever a client or an agent does wrong: the error of protocol.md, a socket that goes on, nothing half-created."""

import json
from collections.abc import Iterator
from http.cookiejar import CookieJar
from typing import Any
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, types_of
from netra.testing.server import RunningNetra

pytestmark = pytest.mark.e2e

GOOD = {"type": "start_agent", "request_id": "r1", "agent": "scripted", "message": "Go.", "params": {"script": []}}
ENDLESS = {"tool": "sleep", "arguments": {"seconds": 60}}
UNKNOWN_RUN = "run_01jd3w3v6zf8qbm3w2k4h8s9ta"
UNKNOWN_THREAD = "thread_01jd3w3v6zf8qbm3w2k4h8s9ta"


def good(**changes: Any) -> str:
    """A start_agent message with something changed; None takes a field out."""
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value is not None})


BAD_FRAMES: dict[str, tuple[str | bytes, str, str | None]] = {
    "empty frame": ("", "invalid_json", None),
    "no JSON": ("hello", "invalid_json", None),
    "half an object": ('{"type": "ping"', "invalid_json", None),
    "two objects": ('{"type": "ping"} {"type": "ping"}', "invalid_json", None),
    "no number": ('{"type": "ping", "id": NaN}', "invalid_json", None),
    "half a character": ('{"type": "ping", "id": "\\ud800"}', "invalid_json", None),
    "deep nesting": ("[" * 30_000, "invalid_json", None),
    "binary": (b'{"type": "ping"}', "invalid_json", None),
    "binary nonsense": (b"\x00\xff\xfe", "invalid_json", None),
    "a list": ("[]", "invalid_message", None),
    "null": ("null", "invalid_message", None),
    "a text": ('"ping"', "invalid_message", None),
    "no type": ("{}", "invalid_message", "type"),
    "type is no text": ('{"type": 5}', "invalid_message", "type"),
    "type is a list": ('{"type": []}', "invalid_message", "type"),
    "unknown type": ('{"type": "dance"}', "unknown_type", "type"),
    "an event's type": ('{"type": "agent_completed"}', "unknown_type", "type"),
    "no request_id": (good(request_id=None), "invalid_message", "request_id"),
    "no agent": (good(agent=None), "invalid_message", "agent"),
    "no message": (good(message=None), "invalid_message", "message"),
    "unknown field": (good(threadid="x"), "invalid_message", "threadid"),
    "unknown field of ping": ('{"type": "ping", "ID": "x"}', "invalid_message", "ID"),
    "request_id is a number": (good(request_id=5), "invalid_message", "request_id"),
    "request_id is empty": (good(request_id=""), "invalid_message", "request_id"),
    "request_id is too long": (good(request_id="r" * 65), "invalid_message", "request_id"),
    "agent is a list": (good(agent=["scripted"]), "invalid_message", "agent"),
    "message is an object": (good(message={}), "invalid_message", "message"),
    "thread_id is a number": (good(thread_id=7), "invalid_message", "thread_id"),
    "params is a list": (good(params=[]), "invalid_message", "params"),
    "timeout is a text": (good(timeout="5"), "invalid_message", "timeout"),
    "timeout is true": (good(timeout=True), "invalid_message", "timeout"),
    "timeout is 0": (good(timeout=0), "invalid_message", "timeout"),
    "timeout is below 0": (good(timeout=-1), "invalid_message", "timeout"),
    "on_busy is unknown": (good(on_busy="wait"), "invalid_message", "on_busy"),
    "message is empty": (good(message=""), "invalid_message", "message"),
    "message is blank": (good(message=" \n\t\u2003"), "invalid_message", "message"),
    "agent is unknown": (good(agent="nobody"), "unknown_agent", "agent"),
    "agent's name has a NUL": (good(agent="scripted\0"), "unknown_agent", "agent"),
    "agent's name is endless": (good(agent="a" * 10_000), "unknown_agent", "agent"),
    "thread is unknown": (good(thread_id=UNKNOWN_THREAD), "not_found", "thread_id"),
    "thread is a run": (good(thread_id=UNKNOWN_RUN), "not_found", "thread_id"),
    "thread is malformed": (good(thread_id="thread_\0"), "not_found", "thread_id"),
    "thread is a path": (good(thread_id="../../etc/passwd"), "not_found", "thread_id"),
    "more than 64 KiB": (good(message="x" * 65_536), "message_too_large", None),
    "more than 64 KiB in UTF-8": ('{"type": "ping", "id": "' + "語" * 22_000 + '"}', "message_too_large", None),
    "1 MiB": ("x" * 1_048_576, "message_too_large", None),
    "cancel without a run": ('{"type": "cancel_run"}', "invalid_message", "run_id"),
    "cancel a number": ('{"type": "cancel_run", "run_id": 1}', "invalid_message", "run_id"),
    "cancel an unknown run": (f'{{"type": "cancel_run", "run_id": "{UNKNOWN_RUN}"}}', "not_found", "run_id"),
    "cancel a thread": (f'{{"type": "cancel_run", "run_id": "{UNKNOWN_THREAD}"}}', "not_found", "run_id"),
    "answer an unknown approval": (
        f'{{"type": "resolve_approval", "run_id": "{UNKNOWN_RUN}", "approval_id": "a", "decision": "approve"}}',
        "not_found",
        "approval_id",
    ),
    "answer neither yes nor no": (
        f'{{"type": "resolve_approval", "run_id": "{UNKNOWN_RUN}", "approval_id": "a", "decision": "maybe"}}',
        "invalid_message",
        "decision",
    ),
    "cancel nonsense": ('{"type": "cancel_run", "run_id": "\\u0000\'; --"}', "not_found", "run_id"),
    "resume without cursors": ('{"type": "resume"}', "invalid_message", "cursors"),
    "resume with a list": ('{"type": "resume", "cursors": []}', "invalid_message", "cursors"),
    "a cursor below 0": (f'{{"type": "resume", "cursors": {{"{UNKNOWN_RUN}": -1}}}}', "invalid_message", "cursors"),
    "a cursor with a point": (
        f'{{"type": "resume", "cursors": {{"{UNKNOWN_RUN}": 1.5}}}}',
        "invalid_message",
        "cursors",
    ),
    "a cursor is a text": (f'{{"type": "ack", "cursors": {{"{UNKNOWN_RUN}": "1"}}}}', "invalid_message", "cursors"),
    "a huge cursor": (f'{{"type": "ack", "cursors": {{"{UNKNOWN_RUN}": 1e99}}}}', "invalid_message", "cursors"),
    "id is too long": (f'{{"type": "ping", "id": "{"x" * 65}"}}', "invalid_message", "id"),
    "id is a number": ('{"type": "ping", "id": 1}', "invalid_message", "id"),
}


@pytest.fixture
def other_chat(netra: RunningNetra) -> Iterator[Chat]:
    """A socket of bob's."""
    with netra.connect(netra.other_token) as chat:
        yield chat


@pytest.fixture(scope="module")
def cookie(netra: RunningNetra) -> str:
    """The session of a person who has logged in by a link."""
    jar = CookieJar()
    with build_opener(HTTPCookieProcessor(jar)).open(netra.login_url(), timeout=10) as page:
        assert page.status == 200
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def count_rows(netra: RunningNetra) -> dict[str, Any]:
    (counts,) = netra.rows(
        "SELECT (SELECT count(*) FROM agents_agentexecution) AS runs, (SELECT count(*) FROM agents_thread) AS threads,"
        " (SELECT count(*) FROM agents_executionevent) AS events,"
        " (SELECT count(*) FROM agents_phasetransition) AS transitions"
    )
    return counts


def require_usable(chat: Chat) -> None:
    assert chat.ask(type="ping", id="still there")["id"] == "still there"


class TestFrames:
    @pytest.mark.parametrize("case", BAD_FRAMES)
    def test_a_bad_frame_is_answered_and_leaves_nothing(self, chat: Chat, netra: RunningNetra, case: str):
        frame, code, field = BAD_FRAMES[case]
        before = count_rows(netra)

        chat.send_raw(frame)
        error = chat.answer()

        assert (error["type"], error["code"], error.get("field")) == ("error", code, field), error
        assert error["message"]
        if field is not None and code == "invalid_message":
            assert field in error["message"], error
        require_usable(chat)
        assert count_rows(netra) == before

    @pytest.mark.parametrize(
        "changes",
        [
            {"message": " "},
            {"agent": "nobody"},
            {"thread_id": UNKNOWN_THREAD},
            {"timeout": -5},
            {"on_busy": "never"},
            {"parms": {}},
        ],
    )
    def test_the_request_id_stays_free(self, chat: Chat, changes: dict[str, Any]):
        request_id = f"free after {changes}"[:64]

        chat.send_raw(good(request_id=request_id, **changes))
        refused = chat.answer()
        accepted = chat.start_run({"return": 1}, request_id=request_id)

        assert (refused["type"], refused["request_id"]) == ("error", request_id)
        assert accepted["duplicate"] is False
        require_lawful(chat.finish(accepted["run_id"]))

    def test_the_request_id_of_another_request_is_refused_before_all_else(self, chat: Chat, netra: RunningNetra):
        chat.run({"return": 1}, request_id="taken")
        before = count_rows(netra)

        answers = [
            chat.start_agent({"return": 2}, request_id="taken"),
            chat.start_agent({"return": 1}, request_id="taken", message=" "),
            chat.start_agent({"return": 1}, request_id="taken", agent="nobody"),
        ]

        assert [answer["code"] for answer in answers] == ["request_id_reused"] * 3
        require_usable(chat)
        assert count_rows(netra) == before

    def test_the_largest_message_is_taken_and_one_byte_more_is_not(self, chat: Chat):
        def sized(size: int) -> str:
            return good(request_id="largest").replace("Go.", "x" * (size - len(good(request_id="largest")) + 3))

        chat.send_raw(sized(65_537))
        assert chat.answer()["code"] == "message_too_large"
        chat.send_raw(sized(65_536))
        require_lawful(chat.finish(chat.answer()["run_id"]))

    def test_somebody_elses_thread_is_as_good_as_none(self, chat: Chat, other_chat: Chat, netra: RunningNetra):
        theirs = other_chat.start_run({"return": 1})
        other_chat.finish(theirs["run_id"])
        before = count_rows(netra)

        refused = chat.start_agent({"return": 1}, thread_id=theirs["thread_id"])

        assert (refused["code"], refused["field"]) == ("not_found", "thread_id")
        assert chat.ask(type="cancel_run", run_id=theirs["run_id"])["code"] == "not_found"
        require_usable(chat)
        assert count_rows(netra) == before

    def test_acks_that_make_no_sense_are_ignored(self, chat: Chat):
        run_id = chat.run({"return": 1})[0]["run_id"]

        for cursors in ({}, {UNKNOWN_RUN: 5}, {"nonsense": 5}, {run_id: 10**9}):
            chat.send(type="ack", cursors=cursors)
        require_usable(chat)
        require_lawful(chat.run({"emit": 500}))


class TestHandshake:
    def handshake(self, netra: RunningNetra, path: str = "/ws/", **headers: str) -> str:
        """The type of the first frame, or the HTTP status if there is no upgrade."""
        try:
            with connect(f"{netra.ws_url.removesuffix('/ws/')}{path}", additional_headers=headers) as socket:
                return str(json.loads(socket.recv(timeout=10))["type"])
        except InvalidStatus as refused:
            return str(refused.response.status_code)

    def test_without_valid_credentials_there_is_no_socket(self, netra: RunningNetra):
        host = netra.url
        attempts: list[dict[str, str]] = [
            {},
            {"Origin": host},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer netra_wrong"},
            {"Authorization": f"Basic {netra.token}"},
            {"Authorization": netra.token},
            {"Authorization": "Bearer \u00e4\u00ff"},
            {"Origin": host, "Cookie": "sessionid=0123456789abcdefghijklmnopqrstuv"},
            {"Origin": host, "Cookie": "sessionid="},
            {"Origin": host, "Cookie": ";;;=,"},
        ]

        assert [self.handshake(netra, **headers) for headers in attempts] == ["403"] * len(attempts)
        assert self.handshake(netra, "/ws/?ticket=wrong") == "403"
        assert self.handshake(netra, "/elsewhere/", Authorization=f"Bearer {netra.token}") == "403"

    def test_a_token_opens_a_socket_from_anywhere(self, netra: RunningNetra):
        bearer = f"Bearer {netra.token}"

        assert self.handshake(netra, Authorization=bearer) == "connection_established"
        assert self.handshake(netra, Authorization=f"bearer  {netra.token}") == "connection_established"
        assert self.handshake(netra, "/ws", Authorization=bearer) == "connection_established"
        foreign = "https://elsewhere.example"
        assert self.handshake(netra, Authorization=bearer, Origin=foreign) == "connection_established"

    def test_a_cookie_opens_a_socket_from_pages_of_ours_alone(self, netra: RunningNetra, cookie: str):
        assert self.handshake(netra, Cookie=cookie, Origin=netra.url) == "connection_established"
        wrong = [
            "https://elsewhere.example",
            "null",
            f"http://localhost:{netra.port}",
            "http://127.0.0.1",
            f"http://127.0.0.1.elsewhere.example:{netra.port}",
        ]
        assert [self.handshake(netra, Cookie=cookie, Origin=origin) for origin in wrong] == ["403"] * 5
        assert self.handshake(netra, Cookie=cookie) == "403"

    def test_a_cookie_does_not_make_up_for_a_wrong_token(self, netra: RunningNetra, cookie: str):
        headers = {"Cookie": cookie, "Origin": netra.url, "Authorization": "Bearer wrong"}

        assert self.handshake(netra, **headers) == "403"


class TestAgents:
    """An agent that misbehaves harms its own run at most."""

    @pytest.mark.parametrize(
        ("steps", "timeout", "status", "code"),
        [
            ([{"raise": "a bug with a secret"}], None, "failed", "internal"),
            ([{"return": None}], None, "completed", None),
            ([], None, "completed", None),
            ([{"sleep": 3600}], 0.3, "timed_out", "timed_out"),
            ([ENDLESS], 0.3, "timed_out", "timed_out"),
            ([{"nonsense": 1}], None, "failed", "bad_script"),
            ([{"think": "a", "sleep": 1}], None, "failed", "bad_script"),
        ],
    )
    def test_its_run_ends_as_it_should(
        self, chat: Chat, other_chat: Chat, steps: list[Any], timeout: float | None, status: str, code: str | None
    ):
        theirs = other_chat.start_run({"emit": 50, "rate": 500}, {"return": "fine"})["run_id"]

        events = chat.run(*steps, timeout=timeout)

        require_lawful(events)
        end = events[-1]["data"]
        assert (end["status"], (end["error"] or {}).get("code")) == (status, code)
        assert end["result"]["success"] is (status == "completed")
        assert end["result"]["output"] is None
        assert "secret" not in json.dumps(events)
        require_usable(chat)
        require_lawful(other_chat.finish(theirs))
        assert other_chat.events(theirs)[-1]["data"]["status"] == "completed"

    @pytest.mark.parametrize("script", [None, "echo", {"think": "a"}, [5], [{"think": 5}], [{"emit": -1}]])
    def test_params_that_it_cannot_read_end_its_run_alone(self, chat: Chat, script: Any):
        chat.send_raw(good(request_id=f"script {script}", params={"script": script}))

        events = chat.finish(chat.answer()["run_id"])

        require_lawful(events)
        assert events[-1]["data"]["status"] == ("completed" if script == [{"emit": -1}] else "failed")
        require_usable(chat)

    def test_a_table_that_is_none_is_an_answer_of_the_analyst(self, chat: Chat):
        chat.send_raw(good(request_id="no table", agent="analyst", message="There is no table here.", params={}))

        events = chat.finish(chat.answer()["run_id"])

        require_lawful(events)
        assert (events[-1]["data"]["status"], events[-1]["data"]["error"]["code"]) == ("failed", "no_table")

    def test_blocking_the_loop_for_a_second_costs_the_others_that_second(
        self, chat: Chat, other_chat: Chat, netra: RunningNetra
    ):
        theirs = other_chat.start_run({"emit": 300, "rate": 200}, {"return": "fine"})["run_id"]
        other_chat.wait_for(theirs, "agent_started")

        mine = chat.start_run({"think": "Now I block."}, {"block": 1}, {"return": "done"})["run_id"]
        chat.wait_for(mine, "agent_thinking")
        require_usable(other_chat)

        assert chat.finish(mine)[-1]["data"]["status"] == "completed"
        assert other_chat.finish(theirs)[-1]["data"]["status"] == "completed"
        for side, run_id in ((chat, mine), (other_chat, theirs)):
            require_lawful(side.events(run_id))
            assert netra.logged(run_id) == side.events(run_id)

    def test_twenty_thousand_events_leave_room_for_the_others(self, chat: Chat, other_chat: Chat, netra: RunningNetra):
        mine = chat.start_run({"emit": 20_000, "bytes": 50}, ENDLESS)["run_id"]
        chat.wait_for(mine, "agent_started")

        for number in range(5):
            theirs = other_chat.run({"tool": "echo", "arguments": {"n": number}}, {"return": number})
            require_lawful(theirs)
            require_usable(other_chat)

        chat.wait_for(mine, "tool_executing")
        require_usable(chat)
        chat.send(type="cancel_run", run_id=mine)
        require_lawful(chat.finish(mine))
        assert types_of(chat.events(mine)).count("agent_thinking") == 20_001
        assert netra.run_row(mine)["last_seq"] == 20_005


class TestLimits:
    def test_twenty_protocol_errors_in_ten_seconds_close_the_socket(self, netra: RunningNetra):
        with netra.connect() as chat:
            for _ in range(19):
                chat.send_raw("nonsense")
                assert chat.answer()["code"] == "invalid_json"
            require_usable(chat)
            chat.send_raw("nonsense")
            assert chat.answer()["code"] == "invalid_json"
            assert chat.receive_all() == 4400

    def test_errors_that_break_no_protocol_do_not_close_it(self, netra: RunningNetra):
        with netra.connect() as chat:
            for _ in range(30):
                assert chat.ask(type="cancel_run", run_id=UNKNOWN_RUN)["code"] == "not_found"
            require_usable(chat)

    def test_who_sends_or_opens_too_much_is_told_and_then_closed(self, tmp_path: Any):
        limits = {"MESSAGES_PER_MINUTE": "8", "STARTS_PER_MINUTE": "2", "SOCKETS_PER_USER": "2"}
        with RunningNetra(tmp_path, **{f"NETRA_{name}": number for name, number in limits.items()}) as netra:
            with netra.connect() as chat:
                for number in range(2):
                    require_lawful(chat.run({"return": number}))
                before = count_rows(netra)
                refused = chat.start_agent({"return": 3}, request_id="one too many")
                assert (refused["code"], refused["request_id"]) == ("rate_limited", "one too many")
                assert 0 < refused["retry_after"] <= 60
                assert count_rows(netra) == before

                for _ in range(5):
                    require_usable(chat)
                refused = chat.ask(type="ping")
                assert (refused["type"], refused["code"]) == ("error", "rate_limited")
                assert 0 < refused["retry_after"] <= 60
                for _ in range(70):
                    chat.send(type="ping")
                assert chat.receive_all() == 4429
                assert {frame["code"] for frame in chat.frames[-60:]} == {"rate_limited"}

            with netra.connect(netra.other_token), netra.connect(netra.other_token):
                with netra.connect(netra.other_token, wait=False) as third:
                    assert third.receive_all() == 4429
                assert [(frame["type"], frame["code"]) for frame in third.frames] == [("error", "rate_limited")]
            with netra.connect(netra.other_token) as chat:
                require_usable(chat)
