"""A pytest plugin: nothing counts as passed that was not tried.

Skips, expected failures and tests that return a value are failures, and so is a suite from which
mission-critical tests have vanished.
"""

import functools
import inspect
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

MISSION_CRITICAL_TESTS = 90
"""How many tests carry the mark mission_critical; the number may only grow. 0: not counted."""
PIN = "mission_critical_tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(PIN, "how many tests are mission critical", type="int", default=MISSION_CRITICAL_TESTS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped:
        how = "is expected to fail" if hasattr(report, "wasxfail") else "was skipped"
        fail(report, f"{item.nodeid} {how}. Make it pass or remove it: {reason(report)}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        fail(report, f"{collector.nodeid} was skipped as a whole. Make it pass or remove it: {reason(report)}")
    return report


def fail(report: pytest.TestReport | pytest.CollectReport, why: str) -> None:
    report.outcome = "failed"
    report.longrepr = why
    report.__dict__.pop("wasxfail", None)


def reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    given = getattr(report, "wasxfail", "") or report.longrepr
    return str(given[2] if isinstance(given, tuple) else given)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """pytest refuses a value that a test returns; what a coroutine returns gets lost before it looks."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = returning_nothing(item.obj)


def returning_nothing(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        value = await test(*args, **kwargs)
        if value is not None:
            pytest.fail(f"The test returned {value!r}. A test asserts; what it returns, nobody looks at.")

    return checked


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Counts before marks and keywords select, and only where everything was collected."""
    pinned = config.getini(PIN)
    if not pinned or not collects_everything(config.args, config.rootpath):
        return
    count = len(nodeids(items))
    if count != pinned:
        raise pytest.UsageError(
            f"{count} tests are mission critical, MISSION_CRITICAL_TESTS in tests/honesty.py says {pinned}. "
            + ("Bring back what is missing." if count < pinned else f"Well done: set it to {count}.")
        )


def nodeids(items: Iterable[pytest.Item]) -> set[str]:
    return {item.nodeid for item in items if item.get_closest_marker("mission_critical")}


def collects_everything(arguments: list[str], root: Path) -> bool:
    return any(Path(root, argument).resolve() in {root, root / "tests"} for argument in arguments)
