"""Where requests come in: a start becomes a run and a cancel reaches it, whoever asks and by whichever door."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from django.contrib.auth.models import Group

from agents.breaker import Breaker, require_available
from agents.database import in_database
from agents.errors import InvalidMessage
from agents.registration import CancelRequest, Registered, Terms, request_cancel
from agents.registry import AgentRegistry, AgentSpec
from agents.runner import Runner
from agents.runs import RunRequest
from agents.tiers import Tier
from agents.tracker import AgentExecutionTracker

TIER_GROUP = "tier:"
"""A user in the Django group `tier:mid` has the tier mid; in several, the one with the longest runs."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs one user may have executing, and live (executing or waiting)."""

    running: int
    live: int
    default_tier: str


class Intake:
    def __init__(
        self,
        *,
        registry: AgentRegistry,
        tracker: AgentExecutionTracker,
        runner: Runner,
        tiers: Mapping[str, Tier],
        quota: Quota,
        breaker: Breaker,
    ) -> None:
        self._registry = registry
        self._tracker = tracker
        self._runner = runner
        self._tiers = tiers
        self._quota = quota
        self._breaker = breaker

    async def start(
        self, *, user_id: int, request_id: str, request: RunRequest, admit: Callable[[], None]
    ) -> Registered:
        """Makes a run and has it executed; the same request_id again gives the same run. Raises NetraError.

        `admit` is called for a request that would make a run, on another thread, and may refuse it.
        """
        registered = await self._tracker.register_execution(
            user_id=user_id,
            request_id=request_id,
            request=request,
            terms=lambda: self._terms(user_id, request, admit),
        )
        for run_id in registered.interrupts:
            self._runner.cancel(run_id)
        self._runner.enqueue(registered.run_id)
        return registered

    async def cancel(self, *, user_id: int | None, run_id: str) -> CancelRequest:
        """Has a run cancelled, wherever it is; harmless when it has ended. Raises NotFound."""
        request = await in_database(request_cancel, user_id=user_id, run_id=run_id, now=datetime.now(UTC))
        self._runner.cancel(run_id)
        return request

    def _terms(self, user_id: int, request: RunRequest, admit: Callable[[], None]) -> Terms:
        """Looks at a new request, in the transaction that makes its run.

        Raises UnknownAgent, InvalidMessage or AgentUnavailable; only then `admit` is asked.
        """
        spec = self._registry.get_agent(request.agent)
        if not request.message.strip():
            raise InvalidMessage("The message is empty. Say what the agent is to do.", field="message")
        if request.timeout is not None and request.timeout <= 0:
            raise InvalidMessage("timeout must be above 0 seconds.", field="timeout")
        self._require_available(spec)
        admit()
        tier = self._tier_of(user_id)
        return Terms(
            tier=tier.name,
            timeout=min(_longest(spec, tier), request.timeout or math.inf),
            restartable=spec.is_restartable(request),
            running_limit=self._quota.running,
            live_limit=self._quota.live,
        )

    def _require_available(self, spec: AgentSpec) -> None:
        if spec.breaker:
            whole_times = {name: _longest(spec, tier) for name, tier in self._tiers.items()}
            require_available(spec.name, breaker=self._breaker, whole_times=whole_times)

    def _tier_of(self, user_id: int) -> Tier:
        groups = Group.objects.filter(user=user_id, name__startswith=TIER_GROUP).values_list("name", flat=True)
        tiers = [self._tiers[name] for group in groups if (name := group.removeprefix(TIER_GROUP)) in self._tiers]
        return max(tiers, key=lambda tier: tier.run, default=self._tiers[self._quota.default_tier])


def _longest(spec: AgentSpec, tier: Tier) -> float:
    """The seconds that a run of this agent may take in that tier."""
    return tier.run if spec.timeout is None else min(spec.timeout, tier.run)
