"""The last look before a deployment, in seconds: there is no way for an agent to run without its user hearing of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from channels.layers import InMemoryChannelLayer

from agents.errors import AgentRefused
from agents.registry import AgentRegistry, get_agent_registry
from agents.tools import NotifyingToolDispatcher, ToolDispatcher, enhance_tool_dispatcher_with_notifications
from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, types_of
from netra.testing.server import RunningNetra
from notifications.manager import WebSocketManager

pytestmark = [pytest.mark.mission_critical, pytest.mark.critical]


def build_manager() -> WebSocketManager:
    return WebSocketManager(layer=InMemoryChannelLayer(), heartbeat=20, starts_per_minute=30)


class Greeter:
    async def execute(self, context: object) -> str:
        return "Hello."


def test_every_registry_enhances_its_dispatchers():
    for registry in (AgentRegistry(), AgentRegistry(), get_agent_registry()):
        for user_id in (1, 2):
            dispatcher = registry.get_user_session(user_id).tool_dispatcher

            assert type(dispatcher) is NotifyingToolDispatcher
            assert type(dispatcher.plain) is ToolDispatcher


def test_the_manager_reaches_sessions_of_before_and_after():
    registry, manager = AgentRegistry(), build_manager()
    before = registry.get_user_session(1)

    registry.set_websocket_manager(manager)

    assert before.manager is manager
    assert registry.get_user_session(2).manager is manager
    assert registry.get_user_session(1) is before
    assert type(before.tool_dispatcher) is NotifyingToolDispatcher


def test_setting_the_manager_again_replaces_it_everywhere():
    registry, first, second = AgentRegistry(), build_manager(), build_manager()
    registry.set_websocket_manager(first)
    session = registry.get_user_session(1)

    registry.set_websocket_manager(second)

    assert session.manager is second
    assert registry.get_user_session(2).manager is second


def test_several_registries_have_each_their_own_manager():
    registries = [AgentRegistry() for _ in range(3)]
    managers = [build_manager() for _ in registries]

    for registry, manager in zip(registries, managers, strict=True):
        registry.set_websocket_manager(manager)
    sessions = [registry.get_user_session(1) for registry in registries]

    assert [session.manager for session in sessions] == managers
    assert len({id(session.tool_dispatcher) for session in sessions}) == 3


def test_enhancement_is_idempotent():
    plain = ToolDispatcher()
    enhanced = enhance_tool_dispatcher_with_notifications(plain)

    assert enhance_tool_dispatcher_with_notifications(enhanced) is enhanced
    assert enhanced.plain is plain


def test_setting_managers_does_not_wrap_a_dispatcher_twice():
    registry = AgentRegistry()
    session = registry.get_user_session(1)
    dispatcher = session.tool_dispatcher

    for _ in range(3):
        registry.set_websocket_manager(build_manager())

    assert session.tool_dispatcher is dispatcher
    assert type(dispatcher.plain) is ToolDispatcher


def test_concurrent_calls_for_one_user_give_one_session():
    registry = AgentRegistry()

    with ThreadPoolExecutor(16) as threads:
        sessions = list(threads.map(lambda number: registry.get_user_session(number % 2), range(200)))

    assert len({id(session) for session in sessions}) == 2
    assert {session.user_id for session in sessions} == {0, 1}


def test_sessions_of_users_who_are_gone_are_dropped():
    registry = AgentRegistry()
    registry.get_user_session(1)
    held = registry.get_user_session(2)

    assert dict(registry._sessions) == {2: held}


def test_what_is_not_an_agent_is_refused_with_the_reason():
    registry = AgentRegistry()

    class Blocking:
        def execute(self, context: object) -> str:
            return "Hello."

    with pytest.raises(AgentRefused, match="async def execute"):
        registry.register_agent_safely("blocking", Blocking)
    with pytest.raises(AgentRefused, match="register the class"):
        registry.register_agent_safely("greeter", Greeter())  # type: ignore[arg-type]
    registry.register_agent_safely("greeter", Greeter)
    with pytest.raises(AgentRefused, match="taken by .*Greeter"):
        registry.register_agent_safely("greeter", Greeter)
    assert [agent.name for agent in registry.agents()] == ["greeter"]


def test_the_whole_flow_works(chat: Chat, netra: RunningNetra):
    events = chat.run(
        {"think": "First a look."},
        {"tool": "echo", "arguments": {"word": "hello"}},
        {"stream": "All is well.", "chunks": 3},
        {"return": "All is well."},
    )

    require_lawful(events)
    assert list(dict.fromkeys(types_of(events))) == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "partial_result",
        "agent_completed",
    ]
    end = events[-1]["data"]
    assert (end["status"], end["error"], end["result"]["output"]) == ("completed", None, "All is well.")
    assert netra.logged(events[0]["run_id"]) == events
