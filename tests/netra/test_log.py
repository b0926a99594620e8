"""In a process of its own: a log is set up once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEAK = """
import logging, sys, structlog
from netra import log

log.configure(level=sys.argv[1], as_json=sys.argv[2] == "json")
structlog.contextvars.bind_contextvars(run_id="run_1")
logging.getLogger("plain").warning("%s of %s", 1, 2, extra={"action": "counted"})
structlog.get_logger("bound").info("%s taken", "run", attempt=2)
secret = "hunter2".upper()
try:
    len(secret) / 0
except ZeroDivisionError:
    structlog.get_logger("bound").exception("run failed")
"""


@pytest.fixture
def lines():
    def lines(level: str, form: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", SPEAK, level, form],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == ""
        return done.stderr.splitlines()

    return lines


def test_json_has_a_fact_a_line(lines):
    plain, bound, failure = map(json.loads, lines("INFO", "json"))

    assert (plain["event"], plain["action"], plain["level"]) == ("1 of 2", "counted", "warning")
    assert (bound["event"], bound["attempt"], bound["logger"]) == ("run taken", 2, "bound")
    assert failure["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert {fact["run_id"] for fact in (plain, bound, failure)} == {"run_1"}


def test_people_get_lines(lines):
    plain, bound, *failure = lines("INFO", "text")

    for words in ("warning", "1 of 2", "action=counted", "run_id=run_1"):
        assert words in plain
    for words in ("info", "run taken", "attempt=2", "run_id=run_1"):
        assert words in bound
    assert "ZeroDivisionError: division by zero" in failure


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_tells_no_values(lines, form):
    assert "HUNTER2" not in "".join(lines("INFO", form))


def test_the_level_leaves_out_what_is_below(lines):
    assert len(lines("WARNING", "json")) == 2
