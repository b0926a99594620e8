import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.core.exceptions import ImproperlyConfigured

from netra import environment


@pytest.fixture
def given(monkeypatch):
    """Sets the one variable that these tests read."""
    return lambda value: monkeypatch.setenv("SETTING", value)


class TestValues:
    def test_what_is_not_set_is_the_default(self):
        assert environment.text("SETTING", "a") == "a"
        assert environment.boolean("SETTING", True) is True
        assert environment.integer("SETTING", 7) == 7
        assert environment.seconds("SETTING", 1.5) == 1.5
        assert environment.names("SETTING", ["a"]) == ["a"]
        assert environment.choice("SETTING", "A", ("A", "B")) == "A"

    def test_what_is_empty_is_not_set(self, given):
        given(" ")

        assert environment.text("SETTING", "a") == "a"
        assert environment.boolean("SETTING", True) is True
        assert environment.integer("SETTING", 7) == 7
        assert environment.seconds("SETTING", 1.5) == 1.5
        assert environment.names("SETTING", ["a"]) == ["a"]

    @pytest.mark.parametrize(
        ("value", "meaning"),
        [
            ("1", True),
            ("true", True),
            ("Yes", True),
            ("on", True),
            ("0", False),
            ("FALSE", False),
            ("off", False),
        ],
    )
    def test_booleans(self, given, value, meaning):
        given(value)

        assert environment.boolean("SETTING", not meaning) is meaning

    def test_numbers(self, given):
        given(" 12 ")

        assert environment.integer("SETTING", 1) == 12
        assert environment.seconds("SETTING", 1) == 12.0

    def test_names_are_separated_by_commas(self, given):
        given("a.example, b.example,")

        assert environment.names("SETTING") == ["a.example", "b.example"]

    def test_apps_are_packages_that_are_there(self, given):
        given("netra, agents.apps.AgentsConfig")

        assert environment.apps("SETTING") == ["netra", "agents.apps.AgentsConfig"]

    @pytest.mark.parametrize("value", ["greetingz", "greetingz.apps.Config", ".greetings", "./greetings"])
    def test_an_app_that_is_not_there_is_refused_by_name(self, given, value):
        given(value)

        with pytest.raises(ImproperlyConfigured, match=f"SETTING names '{value}', and Python finds no"):
            environment.apps("SETTING")

    def test_numbers_by_name(self, given):
        assert environment.numbers_by_name("SETTING") == {}

        given('{"free": {"run": 20, "tool": 1.5}}')

        assert environment.numbers_by_name("SETTING") == {"free": {"run": 20, "tool": 1.5}}

    def test_addresses_lose_their_last_slash(self, given):
        assert environment.url("SETTING") == ""
        given("https://host:8443/v1/")
        assert environment.url("SETTING") == "https://host:8443/v1"

    @pytest.mark.parametrize("value", ["elsewhere/v1", "ftp://host/v1", "http://", "http://[::1/v1"])
    def test_an_address_that_is_none_is_refused_without_repeating_it(self, given, value):
        given(value)

        with pytest.raises(ImproperlyConfigured, match="SETTING has a value") as refused:
            environment.url("SETTING")
        assert value not in str(refused.value)

    def test_choices_in_any_case(self, given):
        given("b")

        assert environment.choice("SETTING", "A", ("A", "B")) == "B"

    @pytest.mark.parametrize(
        ("read", "value", "expected"),
        [
            (lambda: environment.boolean("SETTING"), "maybe", "1 or 0"),
            (lambda: environment.integer("SETTING", 1), "eight", "a whole number, 1 or more"),
            (lambda: environment.integer("SETTING", 1), "2.5", "a whole number, 1 or more"),
            (lambda: environment.integer("SETTING", 1), "0", "a whole number, 1 or more"),
            (lambda: environment.integer("SETTING", 1, most=9), "10", "a whole number, 1 to 9"),
            (lambda: environment.seconds("SETTING", 1), "soon", "a number of seconds above 0, 1000000000 at most"),
            (lambda: environment.seconds("SETTING", 1), "0", "a number of seconds above 0, 1000000000 at most"),
            (lambda: environment.seconds("SETTING", 1), "inf", "a number of seconds above 0, 1000000000 at most"),
            (lambda: environment.seconds("SETTING", 1), "nan", "a number of seconds above 0, 1000000000 at most"),
            (lambda: environment.seconds("SETTING", 1), "1e300", "a number of seconds above 0, 1000000000 at most"),
            (lambda: environment.choice("SETTING", "A", ("A", "B")), "c", "one of A, B"),
            (lambda: environment.numbers_by_name("SETTING"), "free", 'JSON such as {"free": {"run": 40}}'),
            (
                lambda: environment.numbers_by_name("SETTING"),
                '{"a": 1}',
                'JSON such as {"free": {"run": 40}}',
            ),
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused_by_name(self, given, read, value, expected):
        given(value)

        with pytest.raises(ImproperlyConfigured) as refusal:
            read()
        assert str(refusal.value) == f"The environment variable SETTING is {value!r}; expected {expected}."


@contextmanager
def as_an_ordinary_user():
    """Nothing is forbidden to root."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(me)


class TestFolder:
    def test_a_folder_that_may_not_be_written_is_refused_with_the_remedy(self, given, tmp_path):
        with TemporaryDirectory() as folder:  # pytest's own lie where an ordinary user may not look
            Path(folder).chmod(0o555)
            given(folder)

            with as_an_ordinary_user(), pytest.raises(ImproperlyConfigured, match="Have it own the folder"):
                environment.folder("SETTING", tmp_path)

    def test_it_is_made_and_its_owners_alone(self, given, tmp_path):
        given(str(tmp_path / "new" / "folder"))

        folder = environment.folder("SETTING", tmp_path)

        assert folder == tmp_path / "new" / "folder"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_one_that_cannot_be_made_is_named(self, given, tmp_path):
        (tmp_path / "file").touch()
        given(f"{tmp_path}/file/data")

        with pytest.raises(ImproperlyConfigured, match="SETTING is '.*/file/data', which cannot be used: Not a dir"):
            environment.folder("SETTING", tmp_path)


class TestSecretFile:
    def test_it_is_made_once_and_only_its_owner_may_read_it(self, tmp_path):
        path = tmp_path / "key"

        first, second = environment.secret_file(path), environment.secret_file(path)

        assert first == second
        assert len(first) >= 50
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_all_who_start_together_agree_on_it(self, tmp_path):
        for attempt in range(20):
            path = tmp_path / f"key{attempt}"
            with ThreadPoolExecutor(8) as pool:
                assert len(set(pool.map(environment.secret_file, [path] * 8))) == 1

    def test_no_draft_is_left(self, tmp_path):
        environment.secret_file(tmp_path / "key")

        assert [path.name for path in tmp_path.iterdir()] == ["key"]

    def test_the_one_who_comes_second_takes_the_firsts(self, tmp_path, monkeypatch):
        path = tmp_path / "key"
        monkeypatch.setattr(secrets, "token_urlsafe", lambda _: path.write_text("first") and "second")

        assert environment.secret_file(path) == "first"
        assert [path.name for path in tmp_path.iterdir()] == ["key"]

    def test_an_empty_one_is_refused(self, tmp_path):
        (tmp_path / "key").touch()

        with pytest.raises(ImproperlyConfigured, match="key is empty. Delete it"):
            environment.secret_file(tmp_path / "key")


class TestDatabase:
    def read(self, tmp_path):
        return environment.database("SETTING", tmp_path / "netra.sqlite3", tmp_path / "test.sqlite3")

    def test_by_default_it_is_a_file(self, tmp_path):
        config = self.read(tmp_path)

        assert config["ENGINE"] == "django.db.backends.sqlite3"
        assert config["NAME"] == str(tmp_path / "netra.sqlite3")
        assert config["TEST"] == {"NAME": str(tmp_path / "test.sqlite3")}

    @pytest.mark.parametrize("url", ["", "sqlite:////elsewhere.sqlite3", "sqlite:////elsewhere.sqlite3?timeout=20"])
    def test_every_sqlite_waits_for_its_turn_and_writes_ahead(self, given, tmp_path, url):
        given(url)

        options = self.read(tmp_path)["OPTIONS"]

        assert (int(options["timeout"]), options["transaction_mode"]) == (20, "IMMEDIATE")
        assert "journal_mode=WAL" in options["init_command"]

    def test_postgresql_has_a_pool_and_no_connection_outside_it(self, given, tmp_path):
        given("postgres://me:pw@db:5432/netra?sslmode=require")

        config = self.read(tmp_path)

        assert config["ENGINE"] == "django.db.backends.postgresql"
        assert (config["HOST"], config["NAME"], config["USER"]) == ("db", "netra", "me")
        assert (config["CONN_MAX_AGE"], config["CONN_HEALTH_CHECKS"]) == (0, True)
        assert config["OPTIONS"]["pool"]["max_size"] == 20
        assert config["OPTIONS"]["sslmode"] == "require"

    def test_postgresql_waits_for_nothing_without_end(self, given, tmp_path):
        given("postgres://db/netra?connect_timeout=1")

        options = self.read(tmp_path)["OPTIONS"]

        assert "-c statement_timeout=30000" in options["options"]
        assert "-c lock_timeout=5000 -c idle_in_transaction_session_timeout=10000" in options["options"]
        assert options["pool"]["timeout"] < 4  # a socket is answered within 4 s
        assert (int(options["connect_timeout"]), options["tcp_user_timeout"]) == (1, 10_000)

    def test_what_the_url_says_goes_before(self, given, tmp_path):
        given("postgres://db/netra?options=-c%20statement_timeout%3D1&application_name=mine")

        options = self.read(tmp_path)["OPTIONS"]

        assert (options["options"], options["application_name"]) == ("-c statement_timeout=1", "mine")

    def test_others_are_refused(self, given, tmp_path):
        given("mysql://host/netra")

        with pytest.raises(ImproperlyConfigured, match="SETTING names mysql; .* postgres:// and sqlite:// only"):
            self.read(tmp_path)

    @pytest.mark.parametrize("url", ["db://user:hunter2@host/netra", "hunter2", "postgres://u:hunter2@[host"])
    def test_an_address_that_makes_no_sense_is_refused_without_repeating_it(self, given, tmp_path, url):
        given(url)

        with pytest.raises(ImproperlyConfigured, match="SETTING has a value that cannot be read") as refusal:
            self.read(tmp_path)
        assert "hunter2" not in str(refusal.value)
