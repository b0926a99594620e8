"""What the deployment suite asks: a Netra that runs somewhere, known by its address and one user's token."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec

from netra.testing.chat import Chat
from notifications.connection import socket_url

HTTP_SECONDS = 10.0


class PoliteChat(Chat):
    """Waits when the deployment says that this user starts too many runs: its limits are its own affair."""

    def start_agent(self, *steps: dict[str, Any], agent: str = "scripted", **fields: Any) -> dict[str, Any]:
        while True:
            answer = super().start_agent(*steps, agent=agent, **fields)
            if answer.get("code") != "rate_limited":
                return answer
            time.sleep(answer["retry_after"])


class Deployment(msgspec.Struct, frozen=True):
    url: str
    token: str

    def connect(self, *, token: str | None = None, wait: bool = True) -> PoliteChat:
        return PoliteChat(socket_url(self.url), self.token if token is None else token, wait=wait)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        return self._ask(Request(f"{self.url}{path}"))

    def post(self, path: str) -> tuple[int, Any]:
        """As the user of the token, without a body; the answer is JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        status, body = self._ask(Request(f"{self.url}{path}", method="POST", headers=headers))
        return status, json.loads(body)

    def _ask(self, request: Request) -> tuple[int, str]:
        try:
            with urlopen(request, timeout=HTTP_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refused:
            return refused.code, refused.read().decode()


def require_scripted(deployment: Deployment) -> None:
    """Raises AssertionError with what to do if the deployment lacks the agent that the suite works with."""
    with deployment.connect() as chat:
        answer = chat.start_agent({"return": "ready"})
        if answer.get("code") == "unknown_agent":
            raise AssertionError(
                f"{deployment.url} has no agent scripted, which this suite works with: set NETRA_TEST_AGENTS=1 there."
            )
        assert answer["type"] == "run_accepted", answer
        chat.finish(answer["run_id"])
