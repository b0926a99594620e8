from datetime import UTC, date, datetime

import pytest
import time_machine

from agents.errors import ToolError
from agents.library.clock import current_time, days_between


@time_machine.travel(datetime(2026, 11, 1, 23, 30, tzinfo=UTC), tick=False)
def test_the_time_in_a_zone():
    assert current_time() == "It is Sunday, 1 November 2026, 23:30 (UTC)."
    assert current_time("Asia/Tokyo") == "It is Monday, 2 November 2026, 08:30 (Asia/Tokyo)."


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "a\0b"])
def test_an_unknown_zone_is_said(zone):
    with pytest.raises(ToolError, match="I know no time zone"):
        current_time(zone)


def test_days_between_two_dates():
    assert (
        days_between(date(2026, 12, 24), date(2026, 12, 25))
        == "From Thursday, 24 December 2026, to Friday, 25 December 2026: 1 day."
    )
    assert days_between(date(2026, 3, 1), date(2024, 2, 29)).endswith(": -731 days.")
