"""What a person answers: whose approval it is, what they made of its arguments, and which answer counts."""

from typing import Any

import pytest

from agents.answering import answer_approval
from agents.approvals import Question, open_approval
from agents.errors import ApprovalClosed, InvalidMessage, NotFound
from agents.models import Approval
from agents.registry import AgentRegistry
from agents.runs import Run
from tests.runs import make_claim, make_user

pytestmark = pytest.mark.django_db


def mail(to: str, copies: int = 1, token: int = 0) -> None:
    """Mails something."""


@pytest.fixture
def registry() -> AgentRegistry:
    class Postman:
        async def execute(self, context): ...

    registry = AgentRegistry()
    registry.register_agent_safely("postman", Postman, tools=[mail])
    return registry


@pytest.fixture
def run() -> Run:
    return make_claim(make_user("ada"), agent="postman").run


def ask(run: Run, tool_name: str | None = "mail") -> str:
    question = Question(reason="May I?", tool_name=tool_name, arguments={"to": "bob", "copies": 2}, seconds=60.0)
    return open_approval(run, key="k", question=question).approval_id


def answer(registry: AgentRegistry, run: Run, approval_id: str, said: Any = "approve", **more: Any) -> str:
    more = {"user_id": run.user_id, **more}
    return answer_approval(registry, run_id=run.run_id, approval_id=approval_id, answer=said, **more)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"to": "eve", "copies": "many"},
            "mail does not take these arguments: Expected `int`, got `str` - at `$.copies`",
        ),
        ({"copies": 2}, "missing required field `to`"),
        ({"to": "eve", "bcc": "me"}, "unknown field `bcc`"),
    ],
)
def test_arguments_that_the_tool_does_not_take_decide_nothing(registry, run, arguments, sentence):
    approval_id = ask(run)

    with pytest.raises(InvalidMessage) as refused:
        answer(registry, run, approval_id, arguments=arguments)

    assert sentence in refused.value.message
    assert refused.value.field == "arguments"
    assert Approval.objects.get().decision == ""
    assert answer(registry, run, approval_id, arguments={"to": "eve", "copies": 3}) == "approved"


@pytest.mark.parametrize(
    ("tool_name", "said", "arguments"),
    [
        (None, "approve", {"to": 7}),
        ("no tool of the agent", "approve", {"to": 7}),
        ("mail", "approve", {"to": "eve", "token": "[redacted]"}),
        ("mail", "reject", {"to": 7}),
    ],
    ids=["no_tool", "other_tool", "redacted", "rejected"],
)
def test_what_cannot_be_looked_at_here_is_left_to_the_agent(registry, run, tool_name, said, arguments):
    approval_id = ask(run, tool_name)

    assert answer(registry, run, approval_id, said, arguments=arguments) == f"{said}ed".replace("ee", "e")


def test_an_agent_that_this_process_does_not_know_may_be_answered(run):
    assert answer(AgentRegistry(), run, ask(run), arguments={"to": 7}) == "approved"


def test_the_same_answer_once_more_is_the_same_answer(registry, run):
    approval_id = ask(run)
    same: dict[str, Any] = {"arguments": {"to": "eve"}, "comment": "As I said."}
    answer(registry, run, approval_id, **same)
    resolved_at = Approval.objects.get().resolved_at

    assert answer(registry, run, approval_id, **same) == "approved"

    assert Approval.objects.get().resolved_at == resolved_at
    for other in ({**same, "arguments": {"to": "bob"}}, {**same, "comment": "No."}, {**same, "said": "reject"}):
        with pytest.raises(ApprovalClosed):
            answer(registry, run, approval_id, **other)


def test_whose_approval_it_is_is_looked_at_first(registry, run):
    approval_id = ask(run)

    with pytest.raises(NotFound):
        answer(registry, run, approval_id, user_id=make_user("eve"), arguments={"to": 7})
