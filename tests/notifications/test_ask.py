"""What `ask` refuses before it connects, and what it shows; the whole of it is in tests/e2e/test_ask.py."""

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
    ],
    ids=["no_address", "not_ours", "looks_local", "no_token"],
)
def test_where_and_as_whom(monkeypatch, arguments, sentence):
    monkeypatch.delenv("NETRA_TOKEN", raising=False)

    assert sentence in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [["--params", "{"], ["--params", "[]"], ["--timeout", "0"], ["--timeout", "soon"], ["--timeout", "nan"]],
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
        return Terminal(out, has_status=True, now=lambda: next(times))

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


def event(type_: str, **data: Any) -> dict[str, Any]:
    return {"type": type_, "run_id": "run_a", "thread_id": "thread_a", "agent_name": "a", "seq": 1, "data": data}
