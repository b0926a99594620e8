import pytest
from django.core.exceptions import ImproperlyConfigured

from netra import channel_layers


@pytest.fixture
def given(monkeypatch):
    """Sets the one variable that these tests read."""
    return lambda value: monkeypatch.setenv("SETTING", value)


class TestChannelLayer:
    def test_by_default_it_is_memory_and_messages_outlive_any_pause(self):
        layer = channel_layers.channel_layer("SETTING", secret_key="s")

        assert layer["BACKEND"] == "channels.layers.InMemoryChannelLayer"
        assert layer["CONFIG"] == {"capacity": 10_000, "expiry": 86_400}

    def test_redis_gets_explicit_time_outs(self, given):
        given("redis://cache:6379/1")

        layer = channel_layers.channel_layer("SETTING", secret_key="s")

        assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
        (host,) = layer["CONFIG"]["hosts"]
        assert host.pop("retry").get_retries() == 1
        assert host == {"address": "redis://cache:6379/1", "socket_timeout": 15, "socket_connect_timeout": 3}

    def test_two_netras_on_one_redis_do_not_hear_each_other(self, given):
        given("redis://cache:6379/1")

        prefixes = [
            channel_layers.channel_layer("SETTING", secret_key=key)["CONFIG"]["prefix"] for key in ("a", "a", "b")
        ]

        assert prefixes[0] == prefixes[1] != prefixes[2]

    def test_users_are_spread_over_several_servers(self, given):
        given("redis://cache1:6379/1, rediss://cache2")

        hosts = channel_layers.redis_hosts("SETTING")

        assert [host["address"] for host in hosts] == ["redis://cache1:6379/1", "rediss://cache2"]

    def test_sentinels_say_which_server_is_the_master(self, given):
        given("redis+sentinel://netra:p%40ss@s1:26380,s2/main?db=3")

        (host,) = channel_layers.redis_hosts("SETTING")

        assert host["sentinels"] == [("s1", 26380), ("s2", 26379)]
        assert (host["master_name"], host["db"], host["username"], host["password"]) == ("main", 3, "netra", "p@ss")

    @pytest.mark.parametrize(
        "value",
        [
            "http://user:hunter2@host",
            "redis://",
            "redis://host:hunter2",
            "redis://a,,hunter2",
            "redis+sentinel://hunter2:26379",
            "redis+sentinel://s1,/hunter2",
            "redis+sentinel://s1/main?db=hunter2",
            "redis+sentinel://s1/main?hunter2=1",
        ],
    )
    def test_an_address_that_makes_no_sense_is_refused_without_repeating_it(self, given, value):
        given(value)

        with pytest.raises(ImproperlyConfigured, match="SETTING has a value that cannot be read") as refusal:
            channel_layers.channel_layer("SETTING", secret_key="s")
        assert "hunter2" not in str(refusal.value)


class TestFaultyLayer:
    LAYER = channel_layers.channel_layer("NETRA_NO_SUCH_VARIABLE", secret_key="s")

    def test_without_faults_the_layer_is_as_it_was(self):
        assert channel_layers.faulty_layer("SETTING", self.LAYER, is_test=False) is self.LAYER

    def test_faults_wrap_the_layer(self, given):
        given("drop=0.3, reorder=0.1,delay=0.6")

        layer = channel_layers.faulty_layer("SETTING", self.LAYER, is_test=True)

        assert layer["BACKEND"] == "netra.testing.layers.FaultyLayer"
        assert layer["CONFIG"] == {"inner": self.LAYER, "drop": 0.3, "reorder": 0.1, "delay": 0.6}

    def test_a_netra_that_serves_users_has_no_faults(self, given):
        given("drop=0.3")

        with pytest.raises(ImproperlyConfigured, match="set NETRA_TEST_AGENTS=1 too"):
            channel_layers.faulty_layer("SETTING", self.LAYER, is_test=False)

    @pytest.mark.parametrize(
        "value", ["drop", "drop=", "drop=often", "lose=0.1", "drop=-0.1", "drop=nan", "drop=0.6,delay=0.6"]
    )
    def test_what_makes_no_sense_is_refused_by_name(self, given, value):
        given(value)

        with pytest.raises(ImproperlyConfigured, match=f"SETTING is '{value}'; expected probabilities"):
            channel_layers.faulty_layer("SETTING", self.LAYER, is_test=True)
