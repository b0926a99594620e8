from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from netra.testing.proxy import Proxy


@pytest.fixture
def echo_url() -> Iterator[str]:
    """A server that answers what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"echo://somebody:secret@127.0.0.1:{listener.getsockname()[1]}/path?a=b"
        listener.shutdown(socket.SHUT_RDWR)


def serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection: socket.socket) -> None:
    with connection:
        try:
            while piece := connection.recv(65_536):
                connection.sendall(piece)
        except OSError:
            pass


def connect(proxy: Proxy, seconds: float = 10.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=seconds)


def ask(connection: socket.socket, text: bytes = b"hello") -> bytes:
    connection.sendall(text)
    return connection.recv(65_536)


def test_it_passes_what_it_gets_under_the_url_of_the_server(echo_url):
    with Proxy(echo_url) as proxy, connect(proxy) as one, connect(proxy) as other:
        assert proxy.url == f"echo://somebody:secret@127.0.0.1:{proxy.port}/path?a=b"
        assert [ask(one, b"one"), ask(other, b"other")] == [b"one", b"other"]
        assert proxy.connections == 2

        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""


def test_a_delay_is_waited_for(echo_url):
    with Proxy(echo_url, delay_seconds=0.1) as proxy, connect(proxy) as connection:
        proxy.set_mode("delay")
        begin = time.monotonic()
        assert ask(connection) == b"hello"
        assert time.monotonic() - begin >= 0.2  # there and back


def test_a_black_hole_accepts_answers_nothing_and_gives_it_all_back(echo_url):
    with Proxy(echo_url) as proxy, connect(proxy, 0.3) as old:
        assert ask(old) == b"hello"
        proxy.set_mode("black hole")
        with connect(proxy, 0.3) as new:
            for connection in (old, new):
                with pytest.raises(TimeoutError):
                    ask(connection)

            proxy.set_mode("pass")
            for connection in (old, new):
                connection.settimeout(10)
                assert connection.recv(100) == b"hello"


def test_a_reset_cuts_old_and_new_connections(echo_url):
    with Proxy(echo_url) as proxy, connect(proxy) as old:
        assert ask(old) == b"hello"
        proxy.set_mode("reset")
        with pytest.raises(ConnectionError):
            ask(old)
        with pytest.raises(ConnectionError), connect(proxy) as new:  # noqa: PT012 - whichever of them finds out
            ask(new)
            new.sendall(b"again")

        proxy.set_mode("pass")
        with connect(proxy) as healed:
            assert ask(healed) == b"hello"


def test_a_cut_ends_what_is_open_alone(echo_url):
    with Proxy(echo_url) as proxy, connect(proxy) as old:
        assert ask(old) == b"hello"
        proxy.cut()
        with pytest.raises(ConnectionError):
            ask(old)
        with connect(proxy) as new:
            assert ask(new) == b"hello"


def test_a_reset_also_wakes_who_waits_in_the_black_hole(echo_url):
    with Proxy(echo_url) as proxy:
        proxy.set_mode("black hole")
        with connect(proxy) as waiting:
            waiting.sendall(b"hello")
            while not proxy.connections:
                time.sleep(0.01)
            proxy.set_mode("reset")
            with pytest.raises(ConnectionError):
                waiting.recv(1)


def test_a_server_that_is_away_is_a_cut(echo_url):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Proxy(f"echo://127.0.0.1:{port}") as proxy, pytest.raises(ConnectionError), connect(proxy) as connection:
        connection.recv(1)
