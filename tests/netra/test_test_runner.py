import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test.utils import get_runner

from netra.test_runner import PytestRunner, path_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path):
    """`manage.py test` over a suite of one file."""

    def run(suite: str, *options: str) -> subprocess.CompletedProcess[str]:
        test_file = tmp_path / "test_sample.py"
        test_file.write_text(suite)
        return subprocess.run(
            [sys.executable, "manage.py", "test", "-v0", *options, str(test_file)],
            cwd=ROOT,
            env=os.environ | {"NETRA_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_django_finds_it():
    assert get_runner(settings).__name__ == PytestRunner.__name__


@pytest.mark.slow
def test_a_test_that_fails_fails_the_command(run):
    done = run("def test_it(): assert False")

    assert (done.returncode, "1 failed" in done.stdout) == (1, True), done.stdout + done.stderr


@pytest.mark.slow
def test_tests_may_be_chosen_by_mark_and_passing_passes(run):
    suite = "import pytest\n@pytest.mark.critical\ndef test_one(): pass\ndef test_two(): assert False"

    done = run(suite, "-m", "critical")

    assert (done.returncode, "1 passed, 1 deselected" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"verbosity": 0}, ["-q"]),
        ({"verbosity": 3}, ["-v", "-v"]),
        ({"failfast": True, "keepdb": True}, ["--exitfirst", "--reuse-db"]),
        ({"marker": "mission_critical", "interactive": False}, ["-m", "mission_critical"]),
    ],
)
def test_djangos_options_become_pytests(options, expected):
    assert PytestRunner(**options).options() == expected


@pytest.mark.parametrize(
    ("label", "path"),
    [
        ("tests.netra.test_test_runner", "tests/netra/test_test_runner.py"),
        ("tests.netra", "tests/netra"),
        ("tests", "tests"),
        ("tests/netra", "tests/netra"),
        ("tests/netra/test_x.py::test_y", "tests/netra/test_x.py::test_y"),
        ("test_x.py::test_y", "test_x.py::test_y"),
    ],
)
def test_labels_become_paths(label, path):
    assert path_of(label) == path
