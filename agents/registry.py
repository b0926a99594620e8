"""Which agents there are, and what each user's runs share.

Agents are found in each installed app's `agents.py`, as Django finds `admin.py`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import msgspec

from agents.bridge import AgentWebSocketBridge
from agents.errors import AgentRefused, UnknownAgent
from agents.runs import RunRequest
from agents.tools import (
    NotifyingToolDispatcher,
    Tool,
    ToolDispatcher,
    collect_tools,
    enhance_tool_dispatcher_with_notifications,
)

C = TypeVar("C", bound=type)
Restartable = bool | Callable[[RunRequest], bool]

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class AgentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as it was registered. `timeout` in seconds is the most that this agent may take, None: the tier's.

    `breaker`: whether it is closed to new runs for a while when it keeps failing.
    """

    name: str
    description: str
    agent_class: type
    tools: dict[str, Tool]
    streaming: bool
    restartable: Restartable
    timeout: float | None
    breaker: bool

    def is_restartable(self, request: RunRequest) -> bool:
        return self.restartable(request) if callable(self.restartable) else self.restartable


class UserAgentSession:
    """What one user's runs share. Nothing of it crosses users."""

    def __init__(self, user_id: int, manager: AgentWebSocketBridge | None) -> None:
        self.user_id = user_id
        self.manager = manager
        self.tool_dispatcher: NotifyingToolDispatcher = enhance_tool_dispatcher_with_notifications(ToolDispatcher())

    def set_websocket_manager(self, manager: AgentWebSocketBridge) -> None:
        self.manager = manager
        self.tool_dispatcher = enhance_tool_dispatcher_with_notifications(self.tool_dispatcher)


class AgentRegistry:
    """Agents by name, sessions by user. Sessions live as long as somebody (a run) holds them."""

    def __init__(self) -> None:
        self._agents: dict[str, AgentSpec] = {}
        self._sessions: WeakValueDictionary[int, UserAgentSession] = WeakValueDictionary()
        self._manager: AgentWebSocketBridge | None = None
        self._lock = Lock()

    def register_agent_safely(
        self,
        name: str,
        agent_class: type,
        *,
        description: str = "",
        tools: Iterable[Callable[..., Any]] = (),
        streaming: bool = False,
        restartable: Restartable = False,
        timeout: float | None = None,
        breaker: bool = True,
    ) -> AgentSpec:
        """Takes an agent in, or raises AgentRefused with the reason."""
        _require_agent(name, agent_class)
        if timeout is not None and timeout <= 0:
            raise AgentRefused(f"agent {name}: timeout must be above 0 seconds, not {timeout:g}")
        spec = AgentSpec(
            name=name,
            description=description or (inspect.getdoc(agent_class) or "").partition("\n")[0],
            agent_class=agent_class,
            tools=collect_tools(agent_class, tools),
            streaming=streaming,
            restartable=restartable,
            timeout=timeout,
            breaker=breaker,
        )
        with self._lock:
            if (taken := self._agents.get(name)) is not None:
                raise AgentRefused(
                    f"the name {name} is taken by {taken.agent_class.__module__}.{taken.agent_class.__qualname__}"
                )
            self._agents[name] = spec
        return spec

    def get_agent(self, name: str) -> AgentSpec:
        """Raises UnknownAgent."""
        try:
            return self._agents[name]
        except KeyError:
            known = ", ".join(sorted(self._agents)) or "none"
            raise UnknownAgent(f"There is no agent called {name[:64]!r}. Agents: {known}.", field="agent") from None

    def agents(self) -> list[AgentSpec]:
        return sorted(self._agents.values(), key=lambda spec: spec.name)

    def get_user_session(self, user_id: int) -> UserAgentSession:
        """The one session of a user, with a tool dispatcher that tells of every call."""
        with self._lock:
            session = self._sessions.get(user_id)
            if session is None:
                session = self._sessions[user_id] = UserAgentSession(user_id, self._manager)
            return session

    def set_websocket_manager(self, manager: AgentWebSocketBridge) -> None:
        """Gives the manager to every session, present and future; again replaces it."""
        with self._lock:
            self._manager = manager
            for session in list(self._sessions.values()):
                session.set_websocket_manager(manager)


def _require_agent(name: object, agent_class: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AgentRefused(f"an agent's name is a small letter, then up to 63 of a-z, 0-9, - and _; {name!r} is not")
    if not inspect.isclass(agent_class):
        raise AgentRefused(
            f"agent {name}: register the class, of which each run gets a new instance, not {agent_class!r}"
        )
    execute = getattr(agent_class, "execute", None)
    if not inspect.iscoroutinefunction(execute):
        raise AgentRefused(f"agent {name}: {agent_class.__name__} needs a method `async def execute(self, context)`")
    required = [
        parameter.name
        for parameter in inspect.signature(agent_class).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise AgentRefused(
            f"agent {name}: {agent_class.__name__}() is made without arguments, it must not need {required[0]}"
        )


_registry: Final = AgentRegistry()


def get_agent_registry() -> AgentRegistry:
    """The registry of this process, which autodiscovery fills."""
    return _registry


def agent(
    name: str,
    *,
    description: str = "",
    tools: Iterable[Callable[..., Any]] = (),
    streaming: bool = False,
    restartable: Restartable = False,
    timeout: float | None = None,
    breaker: bool = True,
) -> Callable[[C], C]:
    """Registers the decorated class in the process's registry; raises AgentRefused with the reason."""

    def register(agent_class: C) -> C:
        _registry.register_agent_safely(
            name,
            agent_class,
            description=description,
            tools=tools,
            streaming=streaming,
            restartable=restartable,
            timeout=timeout,
            breaker=breaker,
        )
        return agent_class

    return register
