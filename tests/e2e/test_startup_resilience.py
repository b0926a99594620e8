"""Deployment: it is ready, says so, and serves whoever connects from the first message on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.deployment import Deployment

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]


def test_it_lives_and_is_ready(deployment: Deployment) -> None:
    assert deployment.get("/healthz")[0] == 200
    becomes(lambda: deployment.get("/readyz")[0], 200)
    becomes(lambda: not_ok(deployment), {})


def not_ok(deployment: Deployment) -> dict[str, Any]:
    """Which parts are not well. A process that has ended is still seen for some seconds."""
    checks = json.loads(deployment.get("/readyz")[1])["checks"]
    return {name: check for name, check in checks.items() if check["status"] != "ok"}


def becomes(ask: Callable[[], object], wanted: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while (seen := ask()) != wanted and time.monotonic() < end:
        time.sleep(0.25)
    assert seen == wanted


def test_what_is_sent_before_the_first_frame_was_read_is_answered(deployment: Deployment) -> None:
    with deployment.connect(wait=False) as chat:
        chat.send(type="ping", id="early")

        assert [chat.receive()["type"] for _ in range(2)] == ["connection_established", "pong"]


def test_sockets_may_come_and_go(deployment: Deployment) -> None:
    ids = set()
    for _ in range(20):
        with deployment.connect() as chat:
            ids.add(chat.established["connection_id"])
            assert chat.ask(type="ping")["type"] == "pong"

    assert len(ids) == 20


@pytest.mark.parametrize("token", ["", "netra_wrong"])
def test_who_is_nobody_is_refused_before_anything_is_said(deployment: Deployment, token: str) -> None:
    with pytest.raises(InvalidStatus) as refused, deployment.connect(token=token):
        pass

    assert refused.value.response.status_code == 403


def test_pages_need_a_log_in_and_the_log_in_page_is_there(deployment: Deployment) -> None:
    assert deployment.get("/accounts/login/")[0] == 200
    assert "password" in deployment.get("/")[1]
