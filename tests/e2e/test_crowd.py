"""Many who come at once, while the server is busy. How soon they are served is measured by `make bench`."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack

import pytest

from netra.testing.server import RunningNetra

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CROWD = 200
"""Four times as many as Twisted lets wait by itself; of the others the kernel would drop the first packet."""


def test_a_crowd_may_wait_at_the_door_of_a_busy_server(netra: RunningNetra):
    with ExitStack() as crowd:
        netra.signal(signal.SIGSTOP)
        try:
            address = ("127.0.0.1", netra.port)
            sockets = [crowd.enter_context(socket.create_connection(address, timeout=5)) for _ in range(CROWD)]
        finally:
            netra.signal(signal.SIGCONT)

        for one in sockets:
            one.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
        assert {one.recv(5) for one in sockets} == {b"HTTP/"}
