"""What `ask` refuses before it connects, and what it shows; the whole of it is in tests/e2e/test_ask.py."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from notifications.terminal import Terminal


def refused(*arguments: str) -> str:
    """What stands on standard error, after exit code 2."""
    err = StringIO()
    with pytest.raises(SystemExit) as exited:
        call_command("ask", "analyst", "Go.", *arguments, stdout=StringIO(), stderr=err)
    assert exited.value.code == 2
    assert len(err.getvalue().splitlines()) == 1
    return err.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "is empty."),
        (b"PK\x03\x04\0\0", "is no text file. Save the table as CSV."),
        (b"a,b\n" + b"1,2\n" * 20_000, "it has 80,004 bytes, and a message has at most 65,536"),
        (b"a,b\n" + b"1,2\n" * 200_000, "it has 800,004 bytes, and a message has at most 65,536"),
    ],
    ids=["missing", "empty", "binary", "large", "very_large"],
)
def test_a_file_that_cannot_go_along(tmp_path, content, sentence):
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content)

    assert sentence in refused("--file", str(path))


def test_a_file_that_is_too_large_is_told_how_much_of_it_would_fit(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n" + "1,2\n" * 20_000)

    # A line of 4 characters takes 5 bytes in JSON, and the rest of the message some 150.
    assert "its first 13,0" in refused("--file", str(path))


def test_a_file_whose_name_is_no_text_is_read_all_the_same(tmp_path):
    path = tmp_path / "data\udcff.csv"
    path.write_text("a,b\n" + "1,2\n" * 20_000)

    assert "its first 13,0" in refused("--file", str(path))


def test_two_tables(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")

    assert "Both --file and --params bring a table." in refused("--file", str(path), "--params", '{"table": "a"}')


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "ftp://x"], "is not the address of a server"),
        (["--url", "https://netra.example"], "Say who you are at https://netra.example"),
        (["--url", "http://127.evil.example"], "Say who you are at http://127.evil.example"),
        (["--token", "a\nb"], "characters that no token has"),
        (["--thread", "\udcff"], "What was given as thread is no text."),
        (["--resume", "\udcff"], "What was given as resume is no text."),
        (["--url", "http://\udcff"], "What was given as url is no text."),
    ],
    ids=["no_address", "not_ours", "looks_local", "no_token", "no_thread", "no_run", "no_text"],
)
def test_where_and_as_whom(monkeypatch, arguments, sentence):
    monkeypatch.delenv("NETRA_TOKEN", raising=False)

    assert sentence in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--params", "{"],
        ["--params", "[]"],
        ["--params", '{"a": "\\ud800"}'],
        ["--timeout", "0"],
        ["--timeout", "soon"],
        ["--timeout", "nan"],
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_sense(arguments):
    with pytest.raises(CommandError, match="--params|--timeout"):
        call_command("ask", "analyst", "Go.", *arguments)


class TestTerminal:
    @pytest.fixture
    def out(self) -> StringIO:
        return StringIO()

    @pytest.fixture
    def terminal(self, out) -> Terminal:
        times = iter([0.0, 0.0, 5.0, 5.0, 5.0])
        return Terminal(out, is_terminal=True, now=lambda: next(times))

    def test_the_status_line_is_wiped_before_the_next_event(self, terminal, out):
        terminal.show(event("tool_executing", tool_call_id="tool_a", tool_name="echo", arguments={}))
        terminal.tick("live")
        terminal.show(
            event("tool_completed", tool_call_id="tool_a", tool_name="echo", status="success", duration_ms=1500.0)
        )

        assert out.getvalue() == "\r\x1b[K  running echo · 5 s\r\x1b[K✓ echo() success, 1.5 s\n"

    def test_the_status_line_says_that_the_connection_is_lost(self, terminal, out):
        terminal.show(event("agent_thinking", reasoning="Hm.", step_number=1))
        terminal.tick("offline")

        assert out.getvalue().endswith("  thinking; the connection is offline · 5 s")

    def test_no_status_line_in_the_middle_of_the_answer(self, terminal, out):
        terminal.show(event("partial_result", message_id="msg_a", delta="Half a ", is_complete=False))
        terminal.tick("live")

        assert out.getvalue() == "Half a "

    def test_an_event_of_a_later_version_is_passed_over(self, terminal, out):
        terminal.show(event("agent_dreamt", colour="red"))

        assert out.getvalue() == ""


class TestAtATerminal:
    """With colours, as a person sees it."""

    @pytest.fixture
    def out(self) -> StringIO:
        return StringIO()

    @pytest.fixture
    def terminal(self, out, monkeypatch) -> Terminal:
        monkeypatch.setenv("COLUMNS", "60")
        return Terminal(out, is_terminal=True, has_colours=True, now=lambda: 0.0)

    def say(self, terminal: Terminal, *deltas: str) -> None:
        for delta in deltas:
            terminal.show(event("partial_result", message_id="msg_a", delta=delta, is_complete=False))

    def test_a_block_of_the_answer_is_drawn_when_it_is_whole(self, terminal, out):
        self.say(terminal, "Some **bo", "ld** word")
        assert out.getvalue() == ""

        self.say(terminal, "s\n\nAnd")

        assert "Some \x1b[1mbold\x1b[0m words" in out.getvalue()
        assert "And" not in out.getvalue()
        terminal.show(event("partial_result", message_id="msg_a", delta=" more.", is_complete=True))
        assert "And more." in out.getvalue()

    def test_a_table_is_drawn_in_columns(self, terminal, out):
        self.say(terminal, "| region | units |\n|---|--:|\n", "| North | 7 |\n| South | 51 |\n\n")

        lines = [line.rstrip() for line in plain(out.getvalue()).splitlines()]
        assert any(line.split() == ["North", "7"] for line in lines)
        assert "|" not in out.getvalue()

    def test_an_empty_line_in_code_ends_no_block(self, terminal, out):
        self.say(terminal, "```\na\n\nb\n")
        assert out.getvalue() == ""

        self.say(terminal, "```\n\n")

        assert [line.strip() for line in plain(out.getvalue()).splitlines() if line.strip()] == ["a", "b"]

    def test_an_answer_that_was_cut_short_is_shown_all_the_same(self, terminal, out):
        self.say(terminal, "Half a")
        terminal.show(completed(status="cancelled", output="Half a"))

        assert plain(out.getvalue()).count("Half a") == 1
        assert "cancelled after" in out.getvalue()

    def test_an_answer_that_was_not_streamed_is_drawn_too(self, terminal, out):
        terminal.show(completed(status="completed", output="# Title"))

        assert "Title" in out.getvalue()
        assert "# Title" not in out.getvalue()

    def test_nothing_hides_where_a_link_leads(self, terminal, out):
        self.say(terminal, "[here](https://evil.example/)\n\n")

        assert "https://evil.example/" in out.getvalue()
        assert "\x1b]8;" not in out.getvalue()

    def test_tool_calls_are_folded_unless_asked_for(self, out):
        for unfolds in (False, True):
            terminal = Terminal(out, is_terminal=False, now=lambda: 0.0, unfolds=unfolds)
            terminal.show(event("tool_executing", tool_call_id="t", tool_name="echo", arguments={"a": 1}))
            terminal.show(
                event(
                    "tool_completed",
                    tool_call_id="t",
                    tool_name="echo",
                    status="success",
                    duration_ms=1,
                    result="x\x1b",
                )
            )

        assert (
            out.getvalue()
            == "✓ echo(a=1) success, 1 ms\n" * 2 + '    arguments: {\n      "a": 1\n    }\n    result: x\n'
        )

    def test_a_run_whose_events_are_no_longer_kept_shows_its_result(self, out):
        terminal = Terminal(out, is_terminal=False, now=lambda: 0.0)
        snapshot = {"status": "completed", "result": {"output": "Seven."}, "error": None}

        terminal.show({"type": "gap", "run_id": "run_a", "missed_from": 1, "missed_to": 9, "snapshot": snapshot})

        assert out.getvalue() == "… events 1 to 9 are no longer kept\nSeven.\n● completed\n"


def plain(text: str) -> str:
    """Without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def completed(*, status: str, output: Any) -> dict[str, Any]:
    result = {"output": output, "warnings": []}
    return event("agent_completed", status=status, result=result, error=None, execution_time_ms=5.0)


def test_who_asks_nothing_is_told_how():
    err = StringIO()
    with pytest.raises(SystemExit) as exited:
        call_command("ask", "analyst", stderr=err)

    assert exited.value.code == 2
    assert "ask AGENT MESSAGE" in err.getvalue()
    assert "ask --resume RUN_ID" in err.getvalue()


def event(type_: str, **data: Any) -> dict[str, Any]:
    return {"type": type_, "run_id": "run_a", "thread_id": "thread_a", "agent_name": "a", "seq": 1, "data": data}
