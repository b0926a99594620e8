"""What was said in a thread before a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from agents.context import AgentExecutionContext
from agents.database import patiently
from agents.models import AgentExecution
from agents.runs import RunRequest

MOST_TURNS: Final = 40


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A message and what was answered; an empty answer where there was none."""

    message: str
    answer: str
    at: datetime


class _Result(msgspec.Struct):
    output: Any = None


async def earlier_turns(context: AgentExecutionContext) -> list[Turn]:
    """The thread's ended runs before this one, oldest first; only this user's, and not those that a run started."""
    return await patiently(_read, context.run_id, context.thread_id, context.user_id)


def last_of(turns: list[Turn], characters: int) -> list[Turn]:
    """As many of the latest turns as fit, none of them cut."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        characters -= len(turn.message) + len(turn.answer)
        if characters < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _read(run_id: str, thread_id: str, user_id: int) -> list[Turn]:
    this = AgentExecution.objects.only("pk").get(run_id=run_id)
    runs = AgentExecution.objects.for_user(user_id).filter(
        thread__thread_id=thread_id, pk__lt=this.pk, parent=None, completed_at__isnull=False
    )
    return [_turn(run) for run in runs.order_by("-pk")[:MOST_TURNS]][::-1]


def _turn(run: AgentExecution) -> Turn:
    request = msgspec.json.decode(run.request, type=RunRequest)
    output = msgspec.json.decode(run.result, type=_Result).output if run.result else None
    return Turn(message=request.message, answer=output if isinstance(output, str) else "", at=run.created_at)
