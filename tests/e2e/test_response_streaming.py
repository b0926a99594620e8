"""Deployment: an answer that comes in pieces."""

from __future__ import annotations

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]

TEXTS = {
    "plain": "The quick brown fox jumps over the lazy dog. " * 40,
    "other scripts": "Grüße, 世界 🌍, مرحبا بالعالم. " * 30,
    "markup": "<script>alert(1)</script> & **bold** \u0000 \u202e " * 20,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_pieces_joined_are_the_answer(user_chat: Chat, text: str) -> None:
    events = user_chat.run({"stream": text, "chunks": 50})

    require_lawful(events)
    pieces = [event["data"] for event in events if event["type"] == "partial_result"]
    assert "".join(piece["delta"] for piece in pieces) == text == events[-1]["data"]["result"]["output"]
    assert [piece["is_complete"] for piece in pieces][-1] is True


def test_the_first_piece_comes_while_the_agent_still_works(user_chat: Chat) -> None:
    run_id = user_chat.start_run({"stream": "first words", "chunks": 2}, {"sleep": 600})["run_id"]
    user_chat.wait_for(run_id, "partial_result")
    user_chat.ask(type="cancel_run", run_id=run_id)

    end = user_chat.finish(run_id)[-1]["data"]
    assert end["status"] == "cancelled"
    assert end["result"]["output"] == "first words"


def test_what_was_streamed_is_kept_when_the_agent_fails(user_chat: Chat) -> None:
    events = user_chat.run({"stream": "so far", "chunks": 2}, {"raise": "boom"})

    require_lawful(events)
    assert events[-1]["data"]["status"] == "failed"
    assert events[-1]["data"]["result"]["output"] == "so far"
