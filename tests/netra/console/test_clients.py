import pytest

from netra.console.clients import spell_client

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/141.0.0.0 Safari/537.36", "Chrome 141 on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0", "Edge 141 on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox 143 on Linux"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) {WEBKIT} Version/18.0 Safari", "Safari 18 on iPhone"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/141.0.0.0 Safari/537.36", "Chrome 141 on Linux"),
        ("Mozilla/5.0 of its own kind", "Mozilla/5.0 of its own kind"),
        ("netra-ask/0.1", "netra-ask/0.1"),
        ("", "unnamed client"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_client_is_named_in_few_words(client, words):
    assert spell_client(client) == words
