"""A person's answer to an approval, by whichever door: what they made of its arguments is looked at first."""

from __future__ import annotations

import re
from typing import Any, Final

from agents.approvals import Answer, find_approval, resolve_approval
from agents.errors import InvalidMessage, ToolError, UnknownAgent
from agents.events import Decision
from agents.models import Approval
from agents.registry import AgentRegistry
from agents.showing import is_whole

_PREFIX: Final = re.compile(r"^.*? with wrong arguments: ")


def answer_approval(
    registry: AgentRegistry,
    *,
    user_id: int,
    run_id: str,
    approval_id: str,
    answer: Answer,
    arguments: dict[str, Any] | None = None,
    comment: str = "",
) -> Decision:
    """Notes the answer of the run's user; its runner is to be told of it.

    Raises NotFound, ApprovalClosed, or InvalidMessage for arguments that the tool does not take; it stays open then.
    """
    if answer == "approve" and arguments is not None:
        _require_fitting(registry, find_approval(user_id, run_id, approval_id), arguments)
    return resolve_approval(
        user_id=user_id,
        run_id=run_id,
        approval_id=approval_id,
        answer=answer,
        arguments=arguments,
        comment=comment,
        by=user_id,
    )


def _require_fitting(registry: AgentRegistry, approval: Approval, arguments: dict[str, Any]) -> None:
    """Only whole arguments can be looked at here: what a redacted one stands for, the run alone knows."""
    try:
        tool = registry.get_agent(approval.execution.agent_name).tools.get(approval.tool_name)
    except UnknownAgent:
        return
    if tool is None or not is_whole(arguments):
        return
    try:
        tool.check(arguments)
    except ToolError as error:
        problem = _PREFIX.sub("", error.message)
        raise InvalidMessage(f"{tool.name} does not take these arguments: {problem}", field="arguments") from error
