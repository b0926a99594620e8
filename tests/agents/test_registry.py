import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.errors import AgentRefused, UnknownAgent
from agents.registry import AgentRegistry
from agents.runs import RunRequest
from agents.tools import NotifyingToolDispatcher, ToolDispatcher
from tests.runs import RecordingBridge


class Agent:
    """Does it.

    In detail.
    """

    async def execute(self, context): ...


class Sync:
    def execute(self, context): ...


class NoExecute: ...


class Generator:
    async def execute(self, context):
        yield 1


class Needs:
    def __init__(self, model: str, *, size: int = 1) -> None: ...

    async def execute(self, context): ...


@pytest.fixture
def registry():
    return AgentRegistry()


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (Sync, "async def execute"),
        (NoExecute, "async def execute"),
        (Generator, "async def execute"),
        (Agent(), "register the class"),
        (Agent().execute, "register the class"),
        (None, "register the class"),
        (Needs, "must not need model"),
    ],
)
def test_what_is_no_agent_is_refused_with_the_reason(registry, agent, reason):
    with pytest.raises(AgentRefused, match=f"agent test: .*{reason}"):
        registry.register_agent_safely("test", agent)

    assert registry.agents() == []


@pytest.mark.parametrize("name", ["", "Test", "1st", "a b", "-a", "é", "a" * 65, None, 1, "a\n", "a/b"])
def test_a_name_that_is_none_is_refused(registry, name):
    with pytest.raises(AgentRefused, match="small letter"):
        registry.register_agent_safely(name, Agent)


def test_a_name_that_is_taken_is_refused_and_its_agent_stays(registry):
    spec = registry.register_agent_safely("test", Agent)

    class Other(Agent): ...

    with pytest.raises(AgentRefused, match=r"the name test is taken by .*\.Agent"):
        registry.register_agent_safely("test", Other)
    assert registry.get_agent("test") is spec


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_without_time_is_refused(registry, timeout):
    with pytest.raises(AgentRefused, match="timeout"):
        registry.register_agent_safely("test", Agent, timeout=timeout)


def test_a_tool_that_is_none_is_refused(registry):
    with pytest.raises(AgentRefused, match="is no tool"):
        registry.register_agent_safely("test", Agent, tools=["echo"])


def test_an_agent_is_described_by_its_docstring_unless_told_otherwise(registry):
    assert registry.register_agent_safely("one", Agent).description == "Does it."
    assert registry.register_agent_safely("two", Agent, description="Else.").description == "Else."


def test_agents_are_listed_by_name_and_an_unknown_one_is_told_with_those(registry):
    for name in ("b", "a"):
        registry.register_agent_safely(name, Agent)

    assert [spec.name for spec in registry.agents()] == ["a", "b"]
    with pytest.raises(UnknownAgent, match="'c'. Agents: a, b") as raised:
        registry.get_agent("c")
    assert (raised.value.code, raised.value.field) == ("unknown_agent", "agent")


def test_whether_a_run_may_be_tried_again_may_depend_on_its_request(registry):
    always = registry.register_agent_safely("a", Agent, restartable=True)
    asks = registry.register_agent_safely("b", Agent, restartable=lambda request: request.message == "yes")
    never = registry.register_agent_safely("c", Agent)

    answers = [
        [spec.is_restartable(RunRequest(agent="x", message=message)) for message in ("yes", "no")]
        for spec in (always, asks, never)
    ]
    assert answers == [[True, True], [True, False], [False, False]]


def test_a_user_has_one_session_and_another_user_another(registry):
    mine, yours = registry.get_user_session(1), registry.get_user_session(2)

    assert registry.get_user_session(1) is mine
    assert mine is not yours
    assert mine.tool_dispatcher is not yours.tool_dispatcher
    assert (mine.user_id, yours.user_id) == (1, 2)


def test_asking_from_many_threads_at_once_gives_one_session(registry):
    gate = threading.Barrier(16)

    def ask():
        gate.wait()
        return registry.get_user_session(1)

    with ThreadPoolExecutor(16) as pool:
        sessions = [future.result() for future in [pool.submit(ask) for _ in range(16)]]

    assert len({id(session) for session in sessions}) == 1


def test_the_session_of_a_user_who_is_gone_is_dropped(registry):
    session = registry.get_user_session(1)
    assert len(registry._sessions) == 1
    del session
    gc.collect()

    assert len(registry._sessions) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_session_tells_of_its_tool_calls_and_has_the_manager(registry, when):
    bridge = RecordingBridge()
    if when == "before":
        registry.set_websocket_manager(bridge)
    session = registry.get_user_session(1)
    assert isinstance(session.tool_dispatcher, NotifyingToolDispatcher)
    if when == "after":
        registry.set_websocket_manager(bridge)

    assert session.manager is bridge
    assert isinstance(session.tool_dispatcher, NotifyingToolDispatcher)
    assert isinstance(session.tool_dispatcher.plain, ToolDispatcher)


def test_setting_the_manager_again_replaces_it_everywhere(registry):
    first, second = RecordingBridge(), RecordingBridge()
    session = registry.get_user_session(1)
    dispatcher = session.tool_dispatcher
    for bridge in (first, second):
        registry.set_websocket_manager(bridge)

    assert session.manager is registry.get_user_session(2).manager is second
    assert session.tool_dispatcher is dispatcher
