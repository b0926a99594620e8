from channels.layers import InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from notifications.groups import group_of


@given(st.integers(1, 2**63), st.integers(1, 2**63))
def test_a_group_belongs_to_one_user_and_is_a_name_that_layers_take(one, other):
    assert (group_of(one) == group_of(other)) == (one == other)
    assert InMemoryChannelLayer().require_valid_group_name(group_of(one)) is True
