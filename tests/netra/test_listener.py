"""A worker's small server, asked by real connections."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from netra.health import Health
from netra.listener import listen
from netra.metrics import Metrics
from netra.operations import Operations


@pytest.fixture
async def port() -> AsyncIterator[int]:
    health, metrics = Health([]), Metrics()
    health.start()
    server = await listen(Operations(health, metrics, metrics_token="secret"), "127.0.0.1", 0)
    await health.is_ready()
    yield server.sockets[0].getsockname()[1]
    server.close()
    health.stop()
    metrics.close()


async def say(port: int, request: bytes) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


async def test_it_answers_as_a_web_process_does(port):
    head, _, body = (await say(port, b"GET /readyz?x=1 HTTP/1.1\r\nHost: 10.0.0.9\r\n\r\n")).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: application/json" in head
    assert body == b'{"status":"ok","checks":{"server":{"status":"ok","message":""}}}'


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /elsewhere HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /readyz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"403"),
        (b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer secret\r\n\r\n", b"200"),
    ],
)
async def test_it_keeps_to_its_paths_and_to_the_token(transactional_db, port, request_, status):
    assert (await say(port, request_)).split(b" ")[1] == status


async def test_what_is_no_request_ends_its_connection_only(port):
    assert await say(port, b"\x16\x03\x01 hello\r\n\r\n") == b""
    assert (await say(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
