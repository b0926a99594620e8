"""What goes wrong between an agent and its language model, in codes for programs and sentences for people."""

from __future__ import annotations

from typing import Final

import structlog
from pydantic_ai import exceptions as model

from agents.errors import AgentError

_CODES: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    # The first that fits counts: a time-out is a connection error too.
    (model.ModelRateLimitError, "model_rate_limited", "The language model takes no more requests for the moment."),
    (model.ModelQuotaExceededError, "model_rate_limited", "The account for the language model is used up."),
    (model.ModelTimeoutError, "model_timeout", "The language model took too long to answer."),
    (model.ModelRequestTimeout, "model_timeout", "The language model took too long to answer."),
    (model.ModelAuthenticationError, "model_authentication", "The language model's endpoint refused Netra's key."),
    (model.ModelContextWindowExceededError, "model_refused", "This is longer than the language model can read."),
    (model.ModelNotFoundError, "model_refused", "The endpoint knows no language model of that name."),
    (model.ContentFilterError, "model_refused", "The language model refused to answer this."),
    (model.ModelRequestRejectedError, "model_refused", "The language model's endpoint refused the request."),
    (model.ModelConnectionError, "model_unavailable", "The connection to the language model failed."),
    (model.ModelServerError, "model_unavailable", "The language model's endpoint failed."),
    (model.ModelUnavailableError, "model_unavailable", "The language model's endpoint cannot serve now."),
    (model.ModelAPIError, "model_output_invalid", "The language model's endpoint answered something unreadable."),
    (model.UsageLimitExceeded, "model_usage_limit", "The run has used up what it may ask of the language model."),
    (model.UnexpectedModelBehavior, "model_output_invalid", "The language model's answer could not be used."),
)

log = structlog.get_logger(__name__)


def as_agent_error(error: Exception) -> AgentError | None:
    """The failure as the user reads it; None for what is not the model's doing. The details go to the log."""
    if isinstance(error, model.FallbackExceptionGroup):
        error = error.exceptions[-1]
    for kind, code, message in _CODES:
        if isinstance(error, kind):
            log.warning("language model failed", code=code, error=str(error)[:500])
            return AgentError(code, message + _when(error))
    return None


def _when(error: Exception) -> str:
    if isinstance(error, model.ModelAPIError) and error.retry_after:
        return f" Try again in {error.retry_after:.0f} s."
    return ""
