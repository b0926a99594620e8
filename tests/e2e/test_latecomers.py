import signal
from pathlib import Path

import pytest

from netra.testing.server import RunningNetra

pytestmark = pytest.mark.e2e


class WithLatecomers(RunningNetra):
    application = "tests.e2e.latecomers:application"


def test_who_comes_while_the_reactor_stops_does_not_crash_it(tmp_path: Path):
    with WithLatecomers(tmp_path) as netra:
        netra.signal(signal.SIGTERM)

        assert netra.wait() == 0
        assert "Killed 0 pending application instances" in netra.log.read_text()
        assert "Task was destroyed" not in netra.log.read_text()
