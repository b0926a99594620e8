"""What was said in a thread before a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from agents.models import AgentExecution
from agents.runs import Run, RunRequest

MOST_TURNS: Final = 40


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A message and what was answered; an empty answer where there was none in words."""

    message: str
    answer: str
    at: datetime


class _Result(msgspec.Struct):
    output: Any = None


def read_turns(run: Run) -> list[Turn]:
    """The thread's ended runs before this one, oldest first; only this user's, and not those that a run started."""
    runs = AgentExecution.objects.for_user(run.user_id).filter(
        thread__thread_id=run.thread_id, pk__lt=run.pk, parent=None, completed_at__isnull=False
    )
    return [_turn(earlier) for earlier in runs.order_by("-pk")[:MOST_TURNS]][::-1]


def last_of(turns: list[Turn], characters: int) -> list[Turn]:
    """As many of the latest turns as fit, none of them cut."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        characters -= len(turn.message) + len(turn.answer)
        if characters < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _turn(run: AgentExecution) -> Turn:
    request = msgspec.json.decode(run.request, type=RunRequest)
    output = msgspec.json.decode(run.result, type=_Result).output if run.result else None
    return Turn(message=request.message, answer=output if isinstance(output, str) else "", at=run.created_at)
