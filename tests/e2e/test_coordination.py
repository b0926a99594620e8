"""Deployment: several tabs and several runs at once, none of which gets in the way of another."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from netra.testing.chat import Chat
from netra.testing.laws import require_lawful, require_view_is_log
from tests.e2e.deployment import Deployment

pytestmark = [pytest.mark.e2e, pytest.mark.deployment]


def test_every_tab_sees_the_same(deployment: Deployment) -> None:
    with ExitStack() as stack:
        tabs = [stack.enter_context(deployment.connect()) for _ in range(3)]
        run_id = tabs[0].start_run({"emit": 30, "rate": 100}, {"return": "done"})["run_id"]
        views = [tab.finish(run_id) for tab in tabs]

    require_lawful(views[0])
    for view in views[1:]:
        require_view_is_log(view, views[0])


def test_a_tab_that_opens_in_mid_run_hears_of_it_and_catches_up(deployment: Deployment, user_chat: Chat) -> None:
    run_id = user_chat.start_run({"emit": 40, "rate": 40}, {"return": "done"})["run_id"]
    user_chat.wait_for(run_id, "agent_thinking")
    with deployment.connect() as late:
        assert run_id in [run["run_id"] for run in late.established["runs"]]
        late.resume(**{run_id: 0})
        late.finish(run_id)
        view = late.view(run_id)

    require_view_is_log(view, user_chat.finish(run_id))


def test_runs_side_by_side_keep_to_themselves(user_chat: Chat) -> None:
    runs = [
        user_chat.start_run({"emit": 10, "rate": 50}, {"return": f"answer {number}"})["run_id"] for number in range(5)
    ]

    for number, run_id in enumerate(runs):
        events = user_chat.finish(run_id)
        require_lawful(events)
        assert events[-1]["data"]["result"]["output"] == f"answer {number}"


def test_a_client_that_acks_gets_everything_however_much_it_is(user_chat: Chat) -> None:
    run_id = user_chat.start_run({"emit": 1500}, {"return": "done"})["run_id"]
    user_chat.send(type="ack", cursors={run_id: 0})
    while (event := user_chat.receive_until("agent_thinking", "agent_completed", run_id=run_id))["seq"]:
        if event["seq"] % 200 == 0 or event["type"] == "agent_completed":
            user_chat.send(type="ack", cursors={run_id: event["seq"]})
        if event["type"] == "agent_completed":
            break

    require_lawful(user_chat.view(run_id))
