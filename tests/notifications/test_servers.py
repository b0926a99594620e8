"""Where ASGI servers differ: how they say that a client is gone."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.exception import Disconnected

from notifications import servers
from notifications.manager import CLOSE_COME_BACK


def failing(error: Exception) -> Any:
    async def send(message: dict[str, Any]) -> None:
        raise error

    return send


@pytest.mark.parametrize(
    "error",
    [
        Disconnected("Attempt to send on a closed protocol"),
        OSError("the client has gone"),
        RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'."),
    ],
    ids=["daphne", "uvicorn", "uvicorn, which has closed it"],
)
async def test_a_client_that_is_gone_is_gone_whatever_the_server_calls_it(error: Exception):
    with pytest.raises(servers.GONE):
        await servers.put(failing(error), {"type": "websocket.send", "text": "{}"})
    with pytest.raises(servers.GONE):
        await servers.close(failing(error), CLOSE_COME_BACK)


async def test_a_message_out_of_turn_is_a_bug_of_ours():
    error = RuntimeError("Expected ASGI message 'websocket.accept' or 'websocket.close', but got 'websocket.send'.")

    with pytest.raises(RuntimeError, match="but got"):
        await servers.put(failing(error), {"type": "websocket.send", "text": "{}"})
