"""Puts the parts of one process together and starts and stops them with its event loop."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection

from agents.agreement import Agreement, Quota
from agents.breaker import Breaker
from agents.core import AgentExecutionCore
from agents.database import AWAY, OwnThread, checkpoint, in_database
from agents.desk import RemoteRunner
from agents.intake import Intake
from agents.journal import Journal
from agents.llm.endpoint import warm_up
from agents.llm.local import get_local_model
from agents.notices import pass_on_notices
from agents.registry import AgentRegistry
from agents.runner import AgentRunner, Limits
from agents.tiers import build_tiers
from agents.tracker import AgentExecutionTracker, set_execution_tracker
from netra import probes
from netra.health import Health, Probe
from netra.metrics import Metrics, watch_loop
from notifications.manager import WebSocketManager
from notifications.presence import Presence
from notifications.receiver import SocketLimits

CHECKPOINT_SECONDS: Final = 2.0
POLL_SECONDS: Final = 1.0
"""How often a runner looks for runs that another process has made, told or not."""

log = structlog.get_logger(__name__)


class Services:
    """The parts of a process that serves sockets, runs agents, or both."""

    def __init__(self, registry: AgentRegistry, *, runs_agents: bool | None = None, runs: int | None = None) -> None:
        """`runs_agents` None, and `runs` (how many at once): as the settings say."""
        layer = get_channel_layer()
        assert layer is not None
        self.manager = WebSocketManager(
            layer=layer,
            heartbeat=settings.NETRA_HEARTBEAT_SECONDS,
            starts_per_minute=settings.NETRA_STARTS_PER_MINUTE,
            redis_hosts=settings.NETRA_REDIS_HOSTS,
        )
        self.presence = Presence(self.manager)
        registry.set_websocket_manager(self.manager)
        self.journal = Journal(publish=self.manager.publish)
        self.tracker = AgentExecutionTracker(self.journal)
        set_execution_tracker(self.tracker)
        agreement = build_agreement(registry)
        self.core = AgentExecutionCore(
            registry=registry, tracker=self.tracker, bridge=self.manager, agreement=agreement
        )
        runs_agents = settings.NETRA_RUNS_AGENTS if runs_agents is None else runs_agents
        self.runner = AgentRunner(core=self.core, limits=_limits(runs)) if runs_agents else None
        self.intake = Intake(agreement=agreement, tracker=self.tracker, runner=self.runner or RemoteRunner())
        self.socket_limits = SocketLimits(
            sockets_per_user=settings.NETRA_SOCKETS_PER_USER,
            messages_per_minute=settings.NETRA_MESSAGES_PER_MINUTE,
            protocol_errors_per_10_s=settings.NETRA_PROTOCOL_ERRORS,
        )
        self._duties: list[asyncio.Task[None]] = []
        self._watching = OwnThread("health")
        self.health = Health(self._probes())
        self.metrics = Metrics()

    def _probes(self) -> list[Probe]:
        silence = 3 * settings.NETRA_LEASE_RENEW_SECONDS
        found = [
            probes.probe_database(self._watching),
            probes.probe_clock(self._watching),
            probes.probe_threads(),
            probes.probe_layer(lambda: self.manager.doorbell.is_heard),
        ]
        if (runner := self.runner) is None:
            found.append(probes.probe_workers(self._watching, silence=silence))
        else:
            found.append(probes.probe_runner(lambda: runner.is_alive))
            if not settings.NETRA_REDIS_HOSTS:
                found.append(probes.probe_solitude(self._watching, owner=runner.owner, silence=silence))
        return found

    def start(self) -> None:
        """To be called in the event loop that serves the sockets."""
        self.manager.start()
        self.presence.start()
        if connection.vendor == "sqlite":
            self._duties.append(asyncio.create_task(_make_checkpoints(), name="checkpoints"))
        self._duties.append(asyncio.create_task(watch_loop(), name="loop lag"))
        if self.runner is not None:
            self.runner.start()
            if settings.NETRA_LLM_WARM:
                self._duties.append(asyncio.create_task(warm_up(), name="language model"))
            log.info("runner started", worker=self.runner.owner)
            if connection.vendor == "postgresql":
                self._duties.append(asyncio.create_task(pass_on_notices(self.runner), name="notices"))
        self.health.start()

    async def stop(self) -> None:
        """Lets runs end within the grace period; what is left is ended or left for the next process."""
        self.health.stop()
        try:
            if self.runner is not None:
                await self.runner.stop(settings.NETRA_STOP_GRACE_SECONDS)
            await asyncio.wait_for(self.journal.drain(), timeout=5.0)
        except (TimeoutError, *AWAY) as error:
            log.error("stopped without the database", error=repr(error))
        await self.manager.stop()
        await self.presence.stop()
        await asyncio.to_thread(get_local_model().stop)
        for duty in self._duties:
            duty.cancel()
        self.metrics.close()
        self._watching.close()


def build_agreement(registry: AgentRegistry) -> Agreement:
    """What holds for new runs, as the settings say."""
    return Agreement(
        registry=registry,
        tiers=build_tiers(settings.NETRA_TIERS),
        quota=Quota(
            running=settings.NETRA_RUNS_PER_USER,
            live=settings.NETRA_LIVE_RUNS_PER_USER,
            default_tier=settings.NETRA_DEFAULT_TIER,
        ),
        breaker=Breaker(
            failures=settings.NETRA_BREAKER_FAILURES,
            window=settings.NETRA_BREAKER_WINDOW_SECONDS,
            cooldown=settings.NETRA_BREAKER_COOLDOWN_SECONDS,
        ),
    )


def _limits(runs: int | None) -> Limits:
    renew = settings.NETRA_LEASE_RENEW_SECONDS
    return Limits(
        total=runs or settings.NETRA_RUNS_TOTAL,
        per_user=settings.NETRA_RUNS_PER_USER,
        lease=settings.NETRA_LEASE_SECONDS,
        renew=renew,
        poll=min(renew, POLL_SECONDS) if connection.vendor == "postgresql" else renew,
    )


async def _make_checkpoints() -> None:
    while True:
        await asyncio.sleep(CHECKPOINT_SECONDS)
        try:
            await in_database(checkpoint)
        except Exception as error:  # the next one makes up for it
            log.warning("no checkpoint", error=repr(error))
