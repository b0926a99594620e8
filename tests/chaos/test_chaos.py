from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos import laws, report
from tests.chaos.conductor import conduct
from tests.chaos.plan import SHORT, draw


@pytest.mark.e2e
@pytest.mark.timeout(300)  # a busy machine may need ten times as long
def test_all_laws_hold_whatever_breaks(tmp_path: Path):
    seed, begin = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000)), time.monotonic()
    record = conduct(draw(seed, SHORT), tmp_path, print)
    broken = laws.broken(record)
    assert not broken, report.describe(record, broken, time.monotonic() - begin)
