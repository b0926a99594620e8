"""The circuit breaker: an agent that keeps failing is closed to new runs for a while, then tried with one of them.

It keeps nothing: whether a circuit is open is read off the agent's latest runs. So all processes give one answer, and
a restart forgets nothing. So many failures in a row within a window open it, each further failure opens it anew, and
an end of another kind closes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import reduce
from itertools import takewhile
from operator import or_
from typing import Final, NamedTuple, cast

import msgspec
import structlog
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.errors import AgentUnavailable
from agents.models import AgentExecution

FAULTS: Final = frozenset({"internal", "cancelled_itself", "invalid_result", "tool_failed", "timed_out", "no_progress"})
"""Codes with which Netra ends a run whose agent broke or hung. Any other is what an AgentError says, on purpose: with
it the agent has done its work."""

TELL_NOTHING: Final = ("cancelled", "lost", "ended_by_operator", "user_inactive", "unknown_agent")
"""Ends for which the agent is not to blame. Those of a dead worker are among them: all its runs are lost with it, which
of them killed it is not known, and their users are told to start them again."""

MOST_FAILURES: Final = 100
LOOKED_BACK: Final = 200
"""Failures in a row that are read at most. After so many an outage counts as a new one."""
PROBE_SECONDS: Final = 2.0
"""When to ask again while another run tries the agent."""

log = structlog.get_logger(__name__)


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` in a row (0: never) within `window` seconds open an agent's circuit for `cooldown` seconds."""

    failures: int
    window: float
    cooldown: float


class _Failure(NamedTuple):
    pk: int
    at: datetime


def require_available(
    agent_name: str, *, breaker: Breaker, whole_times: Mapping[str, float], now: datetime | None = None
) -> None:
    """Raises AgentUnavailable, with the time to try again, for a run that the agent's circuit does not let through.

    To be called in the transaction that makes the run. `whole_times`: by tier, the seconds that the agent may take.
    """
    failure = _opening_failure(agent_name, breaker, whole_times) if breaker.failures else None
    if failure is None:
        return
    now = now or timezone.now()
    half_open_at = failure.at + timedelta(seconds=breaker.cooldown)
    if now < half_open_at:
        raise _refusal(agent_name, (half_open_at - now).total_seconds(), "has failed too often in a row")
    # PostgreSQL makes runs at the same time: whoever comes second waits here, and then sees the first one's.
    list(AgentExecution.objects.select_for_update(no_key=True).filter(pk=failure.pk).values_list("pk"))
    if _probes(agent_name, half_open_at, now - timedelta(seconds=breaker.cooldown)).exists():
        raise _refusal(agent_name, PROBE_SECONDS, "has failed too often in a row, and one run is trying it")


def problems(*, failures: object, window: object, cooldown: object) -> Iterator[str]:
    """What makes the settings senseless, a sentence each; nothing when they are sound."""
    if not isinstance(failures, int) or not 0 <= failures <= MOST_FAILURES:
        yield f"NETRA_BREAKER_FAILURES is {failures!r}, not a whole number from 0 (never) to {MOST_FAILURES}"
    for name, seconds in (("WINDOW", window), ("COOLDOWN", cooldown)):
        if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            yield f"NETRA_BREAKER_{name}_SECONDS is {seconds!r}, not a number of seconds above 0"


def _opening_failure(agent_name: str, breaker: Breaker, whole_times: Mapping[str, float]) -> _Failure | None:
    """The agent's latest failure, if the circuit has opened since its last success."""
    ends = _telling_ends(agent_name)
    if ends.values_list("error_code", flat=True).first() not in FAULTS:
        return None  # one look into the index, for every agent that is sound
    failures = _failures_in_a_row(ends.exclude(Q(error_code="timed_out") & _shortened(whole_times)))
    window = timedelta(seconds=breaker.window)
    spans = (later.at - earlier.at for later, earlier in zip(failures, failures[breaker.failures - 1 :], strict=False))
    return failures[0] if any(span <= window for span in spans) else None


def _telling_ends(agent_name: str) -> QuerySet[AgentExecution]:
    """The agent's runs that have ended and tell something of it, the latest first."""
    ended = AgentExecution.objects.filter(agent_name=agent_name, completed_at__isnull=False)
    return ended.exclude(error_code__in=TELL_NOTHING).order_by("-completed_at", "-pk")


def _shortened(whole_times: Mapping[str, float]) -> Q:
    """Runs whose user asked for less time than the agent may take: that it ran out tells nothing of the agent, or
    anybody could close it to all others by asking for a millisecond."""
    return reduce(or_, (Q(tier=tier, timeout__lt=seconds) for tier, seconds in whole_times.items()))


def _failures_in_a_row(ends: QuerySet[AgentExecution]) -> list[_Failure]:
    rows = cast(
        "QuerySet[AgentExecution, tuple[int, datetime, str]]", ends.values_list("pk", "completed_at", "error_code")
    )
    return [_Failure(pk, at) for pk, at, _ in takewhile(lambda row: row[2] in FAULTS, rows[:LOOKED_BACK])]


def _probes(agent_name: str, half_open_at: datetime, long_ago: datetime) -> QuerySet[AgentExecution]:
    """Live runs that try the agent. One that waits for its busy user, and was made before `long_ago`, bars nobody."""
    begun_or_new = ~Q(owner="") | Q(created_at__gt=long_ago)
    live = AgentExecution.objects.live().filter(agent_name=agent_name, completed_at__isnull=True)  # by the index
    return live.filter(begun_or_new, created_at__gte=half_open_at)


def _refusal(agent_name: str, wait: float, reason: str) -> AgentUnavailable:
    seconds = math.ceil(wait)
    log.warning("agent unavailable", agent=agent_name, reason=reason, retry_after=seconds)
    return AgentUnavailable(f"The agent {agent_name} {reason}. Try again in {seconds} s.", retry_after=float(seconds))
