"""The errors of Netra, each with a code that the wire protocol knows and a message for a person."""

from __future__ import annotations


class NetraError(Exception):
    """Something a user or client did, told in their words; `code` is one of protocol.md's error codes."""

    code = "internal"

    def __init__(self, message: str, *, field: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class InvalidMessage(NetraError):
    code = "invalid_message"


class UnknownAgent(NetraError):
    code = "unknown_agent"


class NotFound(NetraError):
    """Also raised for what belongs to somebody else: a foreign id answers like an unknown one."""

    code = "not_found"


class InvalidCursor(NetraError):
    code = "invalid_cursor"


class RequestIdReused(NetraError):
    code = "request_id_reused"


class Busy(NetraError):
    code = "busy"


class LimitReached(NetraError):
    code = "limit_reached"


class AgentUnavailable(NetraError):
    """The agent's circuit is open: it failed too often. `retry_after` says when to try again."""

    code = "agent_unavailable"


class ApprovalClosed(NetraError):
    """It was answered already, its time is over, or its run has ended."""

    code = "approval_closed"


class NotReady(NetraError):
    code = "not_ready"


class AgentError(Exception):
    """Raised by an agent or tool to fail with a message that its user reads.

    Any other exception of an agent is told to the user as "internal"; its traceback goes to the log only.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ToolError(AgentError):
    """A tool call failed; an agent may catch it and go on."""


class ToolUnknown(ToolError):
    """An earlier attempt made this call, and what came of it is not known. Calling again does it, perhaps once more."""


class ChildFailed(AgentError):
    """A child run did not complete, or there could be none; its parent may catch it and go on.

    `code` and `message` are the child's; `run_id` is None when there is no child.
    """

    def __init__(self, agent: str, code: str, message: str, *, run_id: str | None = None) -> None:
        super().__init__(code, message)
        self.agent = agent
        self.run_id = run_id


class ProgrammingError(Exception):
    """A bug of ours or of an agent's author; never shown to a user."""


class IllegalTransition(ProgrammingError):
    """A run cannot go from one phase to the other; nothing was written."""

    def __init__(self, current: object, target: object) -> None:
        super().__init__(f"a run in phase {current} cannot go to {target}")
        self.current = current
        self.target = target


class IllegalEvent(ProgrammingError):
    """An event that the run's phase or open tool calls do not allow; nothing was written."""


class UnknownExecution(ProgrammingError):
    """This process tracks no live run with that id: it has ended, or another worker has it."""


class AgentRefused(ProgrammingError):
    """What was given to the registry is not an agent; the message says why."""


class Fenced(Exception):
    """Another worker owns the run, or it has ended: this writer must stop and write nothing more."""


class CommitFailed(Exception):
    """The database refused a run's rows; none of them was written."""
