"""Decides what becomes of runs whose worker went away: tried again, or ended as lost."""

from __future__ import annotations

from typing import Final

from agents.execution import CANCELLED, LOST, Ending
from agents.leases import Claim
from agents.phases import AgentExecutionPhase

MAX_ATTEMPTS: Final = 3


def ending_of_stalled(claim: Claim) -> Ending | None:
    """How a run that was taken over is to end at once; None: it is tried again."""
    if claim.cancel_requested:
        return CANCELLED
    if may_be_tried(claim.run.attempt, claim.state.phase, restartable=claim.restartable):
        return None
    return LOST


def may_be_tried(attempt: int, phase: AgentExecutionPhase, *, restartable: bool) -> bool:
    """Whether a run may have this attempt, having come so far in those before."""
    if phase is AgentExecutionPhase.CREATED and attempt <= MAX_ATTEMPTS:
        return True  # its agent has not begun, so that nothing can be done twice
    return restartable and attempt <= MAX_ATTEMPTS and phase not in _CLOSING


_CLOSING: Final = (AgentExecutionPhase.RESULT_PROCESSING, AgentExecutionPhase.COMPLETING)
