"""Decides what becomes of runs whose worker went away: tried again, or ended as lost."""

from __future__ import annotations

from typing import Final

from agents.core import CANCELLED, LOST, Ending
from agents.leases import Claim
from agents.phases import AgentExecutionPhase

MAX_ATTEMPTS: Final = 3


def ending_of_stalled(claim: Claim) -> Ending | None:
    """How a run that was taken over is to end at once; None: it is tried again."""
    if claim.cancel_requested:
        return CANCELLED
    if claim.state.phase is AgentExecutionPhase.CREATED and claim.run.attempt <= MAX_ATTEMPTS:
        return None  # its agent has not begun, so that nothing can be done twice
    if claim.restartable and claim.run.attempt <= MAX_ATTEMPTS and claim.state.phase not in _CLOSING:
        return None
    return LOST


_CLOSING: Final = (AgentExecutionPhase.RESULT_PROCESSING, AgentExecutionPhase.COMPLETING)
