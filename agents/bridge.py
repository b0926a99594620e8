"""What the agents' side asks of whoever tells users of runs; notifications implements it, netra hands it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from agents.events import Decision, Problem, Usage
    from agents.phases import AgentExecutionPhase
    from agents.runs import CommittedBatch, Run
    from agents.tracker import AgentExecutionTracker

ToolStatus = Literal["success", "error", "timed_out", "cancelled"]


class RunNotifier(Protocol):
    """Turns what happens in one run into its events. Each method returns when the event is recorded."""

    def close(self) -> None:
        """From now on nothing can be told of the run by this notifier: its worker is done with it."""
        ...

    async def notify_agent_started(self, *, streaming: bool) -> None: ...

    async def notify_run_recovered(self, reason: str) -> None: ...

    async def notify_agent_thinking(
        self, reasoning: str, *, total_steps: int | None = None, progress_percentage: float | None = None
    ) -> None: ...

    async def notify_tool_executing(self, tool_call_id: str, tool_name: str, arguments: Mapping[str, Any]) -> None: ...

    async def notify_tool_progress(
        self, tool_call_id: str, message: str, *, progress_percentage: float | None = None
    ) -> None: ...

    async def notify_tool_completed(
        self, tool_call_id: str, *, status: ToolStatus, result: object = None, error: Problem | None = None
    ) -> None: ...

    async def notify_partial_result(self, message_id: str, delta: str, *, is_complete: bool) -> None: ...

    async def notify_approval_requested(
        self,
        approval_id: str,
        reason: str,
        *,
        tool_name: str | None,
        arguments: dict[str, Any] | None,
        expires_at: datetime,
    ) -> None: ...

    async def notify_approval_resolved(
        self, approval_id: str, decision: Decision, *, arguments: dict[str, Any] | None
    ) -> None: ...

    async def notify_agent_completed(
        self,
        phase: AgentExecutionPhase,
        *,
        output: object,
        error: Problem | None,
        warnings: Sequence[str],
        streaming: bool,
        usage: Usage | None = None,
    ) -> None: ...


class AgentWebSocketBridge(Protocol):
    """Carries committed events to users' sockets."""

    def create_notifier(self, tracker: AgentExecutionTracker, run: Run, *, steps_before: int) -> RunNotifier:
        """Binds a run to its user's group; `steps_before` thinking steps were told by earlier attempts."""
        ...

    def publish(self, batches: Sequence[CommittedBatch]) -> None:
        """Sends what is in the log on its way; never waits and never fails: a loss costs latency only."""
        ...
