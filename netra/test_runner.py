"""`manage.py test` runs the same tests as pytest does."""

import argparse
from pathlib import Path
from typing import Any

import pytest


class PytestRunner:
    """What Django asks of a TEST_RUNNER, as a thin wrapper of pytest.

    Labels are pytest's: a file, a folder, or a node id; a dotted module name works too.
    """

    def __init__(
        self,
        *,
        verbosity: int = 1,
        failfast: bool = False,
        keepdb: bool = False,
        marker: str = "",
        **_options: Any,
    ) -> None:
        self.verbosity = verbosity
        self.failfast = failfast
        self.keepdb = keepdb
        self.marker = marker

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--keepdb", action="store_true", help="Keep the test database for the next time.")
        parser.add_argument("-m", dest="marker", default="", help="Only tests with this mark: pytest's -m.")

    def run_tests(self, test_labels: list[str], **_options: Any) -> int:
        """0 if every test passed, else pytest's exit code."""
        return int(pytest.main([*self.options(), *map(path_of, test_labels)]))

    def options(self) -> list[str]:
        options = []
        if self.verbosity == 0:
            options.append("-q")
        options += ["-v"] * (self.verbosity - 1)
        if self.failfast:
            options.append("--exitfirst")
        if self.keepdb:
            options.append("--reuse-db")
        if self.marker:
            options += ["-m", self.marker]
        return options


def path_of(label: str) -> str:
    """`tests.agents.test_phases` and `tests/agents/test_phases.py` mean the same."""
    if "/" in label or label.partition("::")[0].endswith(".py"):
        return label
    path = Path(*label.split("."))
    return str(path if path.is_dir() else path.with_suffix(".py"))
