from hypothesis import given
from hypothesis import strategies as st

from notifications.limits import RateLimit


def test_so_many_are_free_and_the_next_waits_for_the_window():
    limit = RateLimit(2, 10.0)

    assert [limit.take(now) for now in (100.0, 101.0, 104.0, 109.5)] == [0.0, 0.0, 6.0, 0.5]
    assert limit.take(110.0) == 0.0


def test_the_first_is_free_whatever_the_clock_says():
    assert RateLimit(1, 10.0).take(0.0) == 0.0


def test_a_limit_of_none_refuses_all():
    assert RateLimit(0, 10.0).take(5.0) == 10.0


@given(st.integers(1, 5), st.lists(st.floats(0, 3), max_size=60))
def test_no_window_has_more_than_its_number_and_who_waits_as_told_gets_through(most, pauses):
    limit, now, window = RateLimit(most, 10.0), 1_000.0, list[float]()
    for pause in pauses:
        now += pause
        wait = limit.take(now)
        if wait == 0.0:
            if window and now - window[0] >= 10.0:
                window = []
            window.append(now)
            assert len(window) <= most
        else:
            assert 0 < wait <= 10.0
    assert limit.take(now + 10.0) == 0.0
