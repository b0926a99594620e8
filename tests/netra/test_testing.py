"""docs/testing.md: its examples are a project outside the checkout, which knows Netra by its PYTHONPATH alone."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.library.scripted import VERBS
from netra.testing import laws
from netra.testing.server import ROOT

DOCUMENT = (ROOT / "docs" / "testing.md").read_text()
README = (ROOT / "README.md").read_text()


def files_of(text: str) -> dict[str, str]:
    """The code blocks that begin with the name of their file."""
    return dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, code in (files_of(README) | files_of(DOCUMENT)).items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return tmp_path / "project"


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Not as this pytest's child: nothing that is set up here is known there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NETRA_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.e2e
@pytest.mark.slow
def test_the_examples_pass_in_a_project_of_their_own(project: Path):
    done = run_pytest(project)

    tests = sum(code.count("\ndef test_") for code in files_of(DOCUMENT).values())
    assert f"= {tests} passed in" in done.stdout, done.stdout + done.stderr
    assert tests == 7


@pytest.mark.e2e
@pytest.mark.slow
def test_an_agent_that_does_something_else_turns_the_example_red(project: Path):
    agents = project / "greetings" / "agents.py"
    agents.write_text(agents.read_text().replace("len(text.split())", "len(text)"))

    done = run_pytest(project, "test_counter.py")

    assert "test_the_counter_counts - AssertionError" in done.stdout, done.stdout + done.stderr
    assert "= 1 failed, 1 passed in" in done.stdout


def test_every_word_of_a_script_is_in_the_table():
    assert [verb for verb in VERBS if f'\n| `{{"{verb}": ' not in DOCUMENT] == []


def test_every_law_is_in_the_table():
    functions = [law for law in vars(laws).values() if inspect.isfunction(law) and law.__module__ == laws.__name__]
    names = {law.__name__ for law in functions if law.__name__.startswith("require_")}

    assert names == set(re.findall(r"^\| `(require_\w+)\(", DOCUMENT, re.MULTILINE))
