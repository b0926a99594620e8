"""Decides what becomes of runs whose worker went away: tried again, or ended as lost."""

from __future__ import annotations

from typing import Final

from agents.execution import CANCELLED, LOST, Ending
from agents.leases import Claim
from agents.phases import AgentExecutionPhase

MAX_ATTEMPTS: Final = 3
"""Without those that ended because their worker stopped, in good order."""


def ending_of_stalled(claim: Claim) -> Ending | None:
    """How a run that was taken over is to end at once; None: it is tried again."""
    if claim.cancel_requested:
        return CANCELLED
    if may_be_tried(claim.tries, claim.state.phase, restartable=claim.restartable):
        return None
    return LOST


def may_be_tried(tries: int, phase: AgentExecutionPhase, *, restartable: bool) -> bool:
    """Whether a run may be tried for the so-manieth time, having come so far in those before."""
    if phase is AgentExecutionPhase.CREATED and tries <= MAX_ATTEMPTS:
        return True  # its agent has not begun, so that nothing can be done twice
    return restartable and tries <= MAX_ATTEMPTS and phase not in _CLOSING


_CLOSING: Final = (AgentExecutionPhase.RESULT_PROCESSING, AgentExecutionPhase.COMPLETING)
