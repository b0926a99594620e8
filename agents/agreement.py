"""What holds for a new run: which agent, how long it may take, how many runs its user may have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec
from django.contrib.auth.models import Group

from agents.breaker import Breaker, require_available
from agents.errors import InvalidMessage
from agents.registration import Terms
from agents.registry import AgentRegistry, AgentSpec
from agents.runs import Run, RunRequest
from agents.tiers import Tier

TIER_GROUP = "tier:"
"""A user in the Django group `tier:mid` has the tier mid; in several, the one with the longest runs."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs one user may have executing, and live (executing or waiting)."""

    running: int
    live: int
    default_tier: str


class Agreement:
    """Looks at requests, in the transactions that make their runs.

    Its methods raise UnknownAgent, InvalidMessage or AgentUnavailable.
    """

    def __init__(self, *, registry: AgentRegistry, tiers: Mapping[str, Tier], quota: Quota, breaker: Breaker) -> None:
        self.registry = registry
        self._tiers = tiers
        self._quota = quota
        self._breaker = breaker

    def with_user(self, user_id: int, request: RunRequest, admit: Callable[[], None]) -> Terms:
        """`admit` is asked last, of a request that is sound, and may refuse it."""
        spec = self._require_sound(request)
        admit()
        return self._terms(spec, self._tier_of(user_id), request, longest=math.inf)

    def with_parent(self, parent: Run, request: RunRequest, longest: float) -> Terms:
        """For a child run, which has its parent's tier and at most `longest` seconds."""
        return self._terms(self._require_sound(request), self.tier_named(parent.tier), request, longest=longest)

    def agents(self) -> list[str]:
        return [spec.name for spec in self.registry.agents()]

    def tier_named(self, name: str) -> Tier:
        return self._tiers.get(name) or self._tiers["free"]  # it may be gone since the run was made

    def _require_sound(self, request: RunRequest) -> AgentSpec:
        spec = self.registry.get_agent(request.agent)
        if not request.message.strip():
            raise InvalidMessage("The message is empty. Say what the agent is to do.", field="message")
        if request.timeout is not None and request.timeout <= 0:
            raise InvalidMessage("timeout must be above 0 seconds.", field="timeout")
        if spec.breaker:
            whole_times = {name: _longest(spec, tier) for name, tier in self._tiers.items()}
            require_available(spec.name, breaker=self._breaker, whole_times=whole_times)
        return spec

    def _terms(self, spec: AgentSpec, tier: Tier, request: RunRequest, *, longest: float) -> Terms:
        return Terms(
            tier=tier.name,
            timeout=min(_longest(spec, tier), request.timeout or math.inf, longest),
            restartable=spec.is_restartable(request),
            running_limit=self._quota.running,
            live_limit=self._quota.live,
        )

    def _tier_of(self, user_id: int) -> Tier:
        groups = Group.objects.filter(user=user_id, name__startswith=TIER_GROUP).values_list("name", flat=True)
        tiers = [self._tiers[name] for group in groups if (name := group.removeprefix(TIER_GROUP)) in self._tiers]
        return max(tiers, key=lambda tier: tier.run, default=self._tiers[self._quota.default_tier])


def _longest(spec: AgentSpec, tier: Tier) -> float:
    """The seconds that a run of this agent may take in that tier."""
    return tier.run if spec.timeout is None else min(spec.timeout, tier.run)
