"""The plugin, tried on small suites."""

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(suite: str, *options: str, pinned: int = 0) -> pytest.RunResult:
        pytester.makeini(
            f"[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
            f"filterwarnings = error\nmission_critical_tests = {pinned}\nmarkers = mission_critical"
        )
        pytester.makepyfile(suite)
        return pytester.runpytest("-p", "tests.honesty", "-p", "pytest_asyncio.plugin", *options)

    return run


def test_an_honest_test_passes(run):
    run("def test_it(): assert 1 + 1 == 2").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ("import pytest\ndef test_it(): pytest.skip('no server')", "*was skipped*no server*"),
        ("import pytest\n@pytest.mark.skip(reason='slow')\ndef test_it(): pass", "*was skipped*slow*"),
        (
            "import pytest\n@pytest.mark.xfail(reason='one day')\ndef test_it(): assert 0",
            "*expected to fail*one day*",
        ),
        (
            "import pytest\n@pytest.fixture\ndef f(): pytest.skip('no')\ndef test_it(f): pass",
            "*was skipped*no*",
        ),
        ("def test_it(): return True", "*PytestReturnNotNoneWarning*"),
        ("async def test_it(): return True", "*returned True*"),
    ],
    ids=[
        "skips",
        "is marked to skip",
        "is expected to fail",
        "has a fixture that skips",
        "returns",
        "returns later",
    ],
)
def test_a_test_that_proves_nothing_fails(run, suite, said):
    result = run(suite)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes().get("passed", 0) == 0
    result.stdout.fnmatch_lines([said])


def test_a_module_that_skips_itself_fails(run):
    result = run("import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*was skipped as a whole*no_such_module*"])


TWO_CRITICAL = """
    import pytest
    pytestmark = pytest.mark.mission_critical
    def test_one(): pass
    def test_two(): pass
"""


def test_the_pinned_number_of_critical_tests_passes(run):
    run(TWO_CRITICAL, pinned=2).assert_outcomes(passed=2)


@pytest.mark.parametrize(("pinned", "said"), [(3, "*2 tests are*says 3. Bring back*"), (1, "*set it to 2*")])
def test_another_number_of_critical_tests_is_an_error(run, pinned, said):
    result = run(TWO_CRITICAL, pinned=pinned)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_a_part_of_the_suite_may_hold_fewer_critical_tests(run):
    part = "test_a_part_of_the_suite_may_hold_fewer_critical_tests.py"  # pytester names it after this test

    run(TWO_CRITICAL, part, pinned=3).assert_outcomes(passed=2)


def test_deselecting_hides_no_lost_test(run):
    assert run(TWO_CRITICAL, "-k", "one", pinned=3).ret == pytest.ExitCode.USAGE_ERROR
