"""Deployment: the one path without which nothing is of use, by a ticket as a web page of one's own would do it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from netra.testing.laws import require_lawful, require_view_is_log
from notifications.connection import socket_url
from tests.e2e.deployment import Deployment

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]


def test_ticket_socket_run_answer_and_the_same_again_afterwards(deployment: Deployment) -> None:
    status, answer = deployment.post("/api/v1/tickets")
    assert status == 201

    with connect(f"{socket_url(deployment.url)}?ticket={quote(answer['ticket'])}", compression=None) as socket:
        assert json.loads(socket.recv(timeout=20))["type"] == "connection_established"

    with deployment.connect() as chat:
        table = "item,price\nbook,12\npen,3\n"
        run_id = chat.start_run(agent="analyst", message=f"Total price?\n\n{table}")["run_id"]
        seen = chat.finish(run_id)
    require_lawful(seen)
    assert "15" in str(seen[-1]["data"]["result"]["output"])

    with deployment.connect() as later:
        later.resume(**{run_id: 0})
        require_view_is_log(later.view(run_id), seen)


def test_a_ticket_is_good_once(deployment: Deployment) -> None:
    _, answer = deployment.post("/api/v1/tickets")
    address = f"{socket_url(deployment.url)}?ticket={quote(answer['ticket'])}"
    with connect(address, compression=None) as first:
        assert json.loads(first.recv(timeout=20))["type"] == "connection_established"

    with pytest.raises(InvalidStatus) as refused, connect(address, compression=None):
        pass
    assert refused.value.response.status_code == 403
