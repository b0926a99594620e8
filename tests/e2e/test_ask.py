"""`manage.py ask` as a person runs it: its own process, a real server."""

import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from netra.testing.server import ROOT, RunningNetra
from netra.testing.servers import free_port

pytestmark = pytest.mark.e2e

ORDER = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
Done = subprocess.CompletedProcess[str]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", "ask", *arguments]


def ask(netra: RunningNetra, *arguments: str, **environment: str) -> Done:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**netra.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(*steps: dict[str, Any]) -> str:
    return json.dumps({"script": list(steps)})


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """A CSV of 1,000 rows, the region that sold most, and how much that is."""
    dice = random.Random(7)
    rows = [(dice.choice(["North", "South", "East", "West"]), dice.randint(1, 99)) for _ in range(1_000)]
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    path.write_text("region,units\n" + "".join(f"{region},{units}\n" for region, units in rows))
    totals = {region: sum(units for each, units in rows if each == region) for region, _ in rows}
    best = max(totals, key=totals.__getitem__)
    return path, best, totals[best]


def test_the_analyst_answers_about_a_thousand_rows(netra: RunningNetra, sales):
    path, best, total = sales

    done = ask(netra, "analyst", "Which region sold the most units?", "--file", str(path))

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("● analyst started (at most ")
    assert any(line.startswith('✓ read_table(source="params") success, ') for line in lines)
    assert f"**{best}**" in done.stdout
    assert f"**{total:,}**" in done.stdout
    assert "1,000 rows" in done.stdout
    assert lines[-1].startswith("● completed after ")
    assert "\r" not in done.stdout


def test_json_is_the_events_in_order_and_nothing_else(netra: RunningNetra, sales):
    path, _, _ = sales

    done = ask(netra, "analyst", "Which region sold the most units?", "--file", str(path), "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    types = [event["type"] for event in events]
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [types.index(type_) for type_ in ORDER] == sorted(types.index(type_) for type_ in ORDER)
    assert (types[0], types[-1], types.count("agent_completed")) == ("agent_started", "agent_completed", 1)
    assert events == netra.logged(events[0]["run_id"])


@pytest.mark.slow
def test_a_token_says_who_asks(netra: RunningNetra):
    done = ask(netra, "scripted", "Go.", "--params", script(), "--json", NETRA_TOKEN=netra.token)

    run_id = json.loads(done.stdout.splitlines()[0])["run_id"]
    (row,) = netra.rows(
        "SELECT username FROM auth_user u JOIN agents_agentexecution e ON e.user_id = u.id WHERE run_id = ?", run_id
    )
    assert row["username"] == "alice"


@pytest.mark.slow
def test_a_thread_goes_on(netra: RunningNetra):
    first = ask(netra, "scripted", "Go.", "--params", script(), "--json")
    thread_id = json.loads(first.stdout.splitlines()[0])["thread_id"]

    second = ask(netra, "scripted", "Go on.", "--params", script(), "--json", "--thread", thread_id)

    assert json.loads(second.stdout.splitlines()[0])["thread_id"] == thread_id


@pytest.mark.parametrize(
    ("steps", "arguments", "end", "code"),
    [
        ([{"raise": "boom"}], [], "✗ failed after ", 1),
        ([{"sleep": 30}], ["--timeout", "0.5"], "✗ timed out after ", 3),
    ],
    ids=["failed", "timed_out"],
)
def test_the_exit_code_says_how_the_run_ended(
    netra: RunningNetra, steps: list[dict[str, Any]], arguments: list[str], end: str, code: int
):
    done = ask(netra, "scripted", "Go.", "--params", script(*steps), *arguments)

    assert done.returncode == code
    assert done.stdout.splitlines()[-1].startswith(end)


def test_a_run_is_followed_from_its_first_event_and_may_be_cancelled_elsewhere(netra: RunningNetra):
    with netra.connect() as chat:
        run_id = chat.start_run({"think": "Long."}, {"sleep": 60})["run_id"]
        following = subprocess.Popen(
            command("--resume", run_id, "--token", netra.token),
            cwd=ROOT,
            env=netra.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        with following:
            assert following.stdout is not None
            first = [following.stdout.readline() for _ in range(3)]
            chat.send(type="cancel_run", run_id=run_id)
            rest = following.stdout.read()

    assert first[0].startswith("● scripted started")
    assert first[2].endswith("Long.\n")
    assert rest.startswith("✗ cancelled after ")
    assert following.returncode == 4


@pytest.mark.slow
def test_an_ended_run_is_shown_again(netra: RunningNetra):
    asked = ask(netra, "scripted", "Go.", "--params", script({"stream": "Seven."}), "--json")
    run_id = json.loads(asked.stdout.splitlines()[0])["run_id"]

    done = ask(netra, "--resume", run_id, "--json")

    assert (done.returncode, done.stdout) == (0, asked.stdout)


def test_at_a_terminal_the_answer_is_drawn(netra: RunningNetra):
    leader, follower = pty.openpty()
    answer = "Some **bold** words.\n\n| a | b |\n|---|--:|\n| x | 1 |"
    asking = subprocess.Popen(
        command("scripted", "Go.", "--params", script({"sleep": 1.2}, {"stream": answer, "chunks": 9})),
        cwd=ROOT,
        env={**netra.environment, "TERM": "xterm", "COLUMNS": "80"},
        stdout=follower,
    )
    os.close(follower)
    seen = b""
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while piece := os.read(leader, 4096):
            seen += piece
    os.close(leader)

    text = seen.decode()
    assert asking.wait(timeout=30) == 0
    assert "thinking · 1 s" in text
    assert "Some \x1b[1mbold\x1b[0m words." in text
    assert "|---" not in text


class AtTerminal:
    """`ask` at a terminal of its own, with somebody who reads and types."""

    def __init__(self, netra: RunningNetra, *arguments: str) -> None:
        self.leader, follower = pty.openpty()
        environment = {**netra.environment, "TERM": "xterm", "COLUMNS": "120"}
        self.process = subprocess.Popen(command(*arguments), cwd=ROOT, env=environment, stdin=follower, stdout=follower)
        os.close(follower)
        self.seen = ""

    def read_until(self, words: str) -> None:
        """Raises TimeoutError if they don't come."""
        while words not in self.seen:
            if not select.select([self.leader], [], [], 30)[0]:
                raise TimeoutError(f"no {words!r} in {self.seen!r}")
            self.seen += os.read(self.leader, 4096).decode("utf-8", "replace")
        self.seen = self.seen.partition(words)[2]

    def type(self, line: str) -> None:
        os.write(self.leader, f"{line}\n".encode())

    def end(self) -> int:
        with suppress(OSError):  # Linux's way to say that the other end is closed
            while piece := os.read(self.leader, 4096):
                self.seen += piece.decode("utf-8", "replace")
        os.close(self.leader)
        return self.process.wait(timeout=30)


def test_at_a_terminal_an_approval_is_asked_for_and_its_arguments_are_changed(netra: RunningNetra):
    delivery = {"tool": "deliver", "arguments": {"to": "bob", "copies": 2}}
    terminal = AtTerminal(netra, "scripted", "Go.", "--verbosity", "2", "--params", script(delivery))
    terminal.read_until("? scripted asks (deliver): May I call deliver?")
    terminal.read_until("copies = 2\r\n")
    terminal.read_until("to = bob\r\n")
    for question, line in [
        ("Approve? yes, no, or edit the arguments: ", "edit"),
        ("copies = 2\r\nNew value (Enter: as it is): ", "many"),
        ("This is not JSON, such as 2", '"many"'),
        ("to = bob\r\nNew value (Enter: as it is): ", "eve"),
        ("Approve? yes, no, or edit the arguments: ", "y"),
        ("deliver does not take these arguments: Expected `int`", "edit"),
        ('copies = "many"\r\nNew value (Enter: as it is): ', "3"),
        ("to = eve\r\nNew value (Enter: as it is): ", ""),
        ("Approve? ", "yes"),
    ]:
        terminal.read_until(question)
        terminal.type(line)
    terminal.read_until("✓ approved")
    terminal.read_until("result: 3 for eve")

    assert terminal.end() == 0


@pytest.mark.slow
@pytest.mark.slow
def test_at_a_terminal_an_approval_of_a_child_is_rejected_with_a_reason(netra: RunningNetra):
    child = {"child": "scripted", "params": {"script": [{"approval": "May the child?"}]}, "catch": True}
    terminal = AtTerminal(netra, "scripted", "Go.", "--params", script(child))
    terminal.read_until("? scripted asks: May the child?")
    terminal.read_until("Approve? yes, no: ")
    terminal.type("no")
    terminal.read_until("Why not? (Enter: no comment) ")
    terminal.type("Not today.")
    terminal.read_until("✗ rejected")

    assert terminal.end() == 0
    (row,) = netra.rows("SELECT decision, comment FROM agents_approval WHERE reason = 'May the child?'")
    assert dict(row) == {"decision": "rejected", "comment": "Not today."}


@pytest.mark.slow
@pytest.mark.slow
def test_a_question_at_a_terminal_is_withdrawn_when_it_is_answered_elsewhere(netra: RunningNetra):
    params = script({"approval": "From elsewhere?"})
    terminal = AtTerminal(netra, "scripted", "Go.", "--params", params, "--token", netra.token)
    terminal.read_until("Approve? yes, no: ")
    (row,) = netra.rows(
        "SELECT approval_id, run_id FROM agents_approval a JOIN agents_agentexecution e ON e.id = a.execution_id"
        " WHERE reason = 'From elsewhere?'"
    )
    with netra.connect() as elsewhere:
        elsewhere.ask(type="resolve_approval", **row, decision="approve")
    terminal.read_until("✓ approved")

    assert terminal.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_where_nobody_can_be_asked_it_says_what_to_do(netra: RunningNetra, as_json: bool):
    question = {"approval": "Is anybody there?", "timeout": 2, "catch": True}

    done = ask(netra, "scripted", "Go.", "--params", script(question), *(["--json"] if as_json else []))

    told = done.stderr if as_json else done.stdout
    assert done.returncode == 0
    assert "scripted waits for an approval until " in told
    assert f"Answer it at {netra.url}/threads/thread_" in told
    assert f"{netra.url}/api/v1/runs/run_" in told


@pytest.mark.slow
def test_what_agents_say_does_not_steer_the_terminal(netra: RunningNetra):
    steps: list[dict[str, Any]] = [
        {"think": "a\x1b[31m\nb"},
        {"tool": "echo", "arguments": {"x": "\x1b]0;t\x07"}},
        {"stream": "c\x1b[2Jd"},
    ]

    done = ask(netra, "scripted", "Go.", "--params", script(*steps))

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "a[31m b" in done.stdout
    assert "\nc[2Jd\n" in done.stdout


def test_ctrl_c_cancels_the_run_and_waits_for_its_end(netra: RunningNetra):
    asking = subprocess.Popen(
        command("scripted", "Go.", "--params", script({"think": "Long."}, {"sleep": 30}), "--json"),
        cwd=ROOT,
        env=netra.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with asking:
        assert asking.stdout is not None
        first = json.loads(asking.stdout.readline())
        asking.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in asking.stdout]

    assert asking.returncode == 130
    assert rest[-1]["type"] == "agent_completed"
    assert rest[-1]["data"]["status"] == "cancelled"
    assert netra.run_row(first["run_id"])["status"] == "cancelled"


@pytest.mark.slow
class TestNotAsked:
    """One sentence on standard error, exit code 2."""

    def refused(self, done: Done) -> str:
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        return done.stderr.strip()

    def test_a_wrong_token(self, netra: RunningNetra):
        done = ask(netra, "analyst", "Go.", "--token", "netra_wrong")

        assert "refused the token: it is wrong or expired" in self.refused(done)

    def test_no_server(self, netra: RunningNetra):
        port = free_port()

        done = ask(netra, "analyst", "Go.", PORT=str(port))

        remedy = "start it with `make run`, or say where it is, by PORT= or --url."
        assert self.refused(done) == f"Nothing answers at http://127.0.0.1:{port}: {remedy}"

    def test_a_server_with_another_database(self, netra: RunningNetra, tmp_path):
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env={**netra.environment, "NETRA_DATA_DIR": str(tmp_path)},
            check=True,
            timeout=60,
        )

        done = ask(netra, "analyst", "Go.", NETRA_DATA_DIR=str(tmp_path))

        assert "may use another one. Give --token" in self.refused(done)

    def test_no_ticket_of_ours_goes_to_another_machine(self, netra: RunningNetra):
        done = ask(netra, "analyst", "Go.", "--url", "https://netra.example")

        assert self.refused(done) == "Say who you are at https://netra.example: give --token, or set NETRA_TOKEN."

    def test_an_unknown_run(self, netra: RunningNetra):
        assert "no run" in self.refused(ask(netra, "--resume", "run_01m7zdp95de02v30pkj0ymertb"))

    def test_an_unknown_agent(self, netra: RunningNetra):
        assert "no agent called 'nobody'. Agents: analyst" in self.refused(ask(netra, "nobody", "Go."))

    def test_an_empty_message(self, netra: RunningNetra):
        assert "The message is empty." in self.refused(ask(netra, "analyst", " "))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("\ufeffcafé,units\nà,1\nb,2\n".encode(), ""),
        ("café,units\nà,1\nb,2\n".encode("utf-16"), ""),
        ("café,units\nà,1\nb,2\n".encode("latin-1"), "is not UTF-8, so it was read as Latin-1.\n"),
    ],
    ids=["utf-8-sig", "utf-16", "latin-1"],
)
def test_files_in_other_encodings_are_read(netra: RunningNetra, tmp_path, content, note):
    path = tmp_path / "data.csv"
    path.write_bytes(content)

    done = ask(netra, "analyst", "How many units?", "--file", str(path))

    assert done.returncode == 0
    assert done.stderr.endswith(note)
    assert bool(done.stderr) == bool(note)
    assert "| café | text |" in done.stdout
