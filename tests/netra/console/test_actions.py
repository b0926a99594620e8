"""What an operator can do to runs: asked for a reason first, done, told, and kept."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from agents.models import AgentExecution, OperatorAction
from netra.console.actions import KINDS
from tests.runs import claim_runs, make_terms, make_user, read_log, read_run, register_run

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_agentexecution_changelist")
INTERVENTIONS = [kind.name for kind in KINDS if kind.do is not None]


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("op", password="pw"))
    return client


def make_run() -> AgentExecution:
    return read_run(register_run(make_user(), agent="analyst").run_id)


def end(run: AgentExecution) -> None:
    AgentExecution.objects.filter(pk=run.pk).update(
        status="failed", phase="failed", completed_at=datetime.now(UTC), completed_seq=1, last_seq=1
    )


def act(console: Client, run: AgentExecution, action: str, **form: str) -> str:
    """Confirms an action on a run's page, and returns the page that follows."""
    address = reverse("admin:agents_agentexecution_act", args=[run.pk, action])
    answer = console.post(address, {"reason": "It hangs.", "form_id": "f1", **form}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def act_on_all(console: Client, action: str, runs: Iterable[AgentExecution], query: str = "", **form: str) -> str:
    """The same in the list, as `query` has filtered it."""
    chosen = {"action": action, "_selected_action": [run.pk for run in runs]}
    given = {**chosen, "reason": "They hang.", "form_id": "f1", **form}
    return console.post(f"{LIST}{query}", given, follow=True).content.decode()


@pytest.mark.parametrize("action", [kind.name for kind in KINDS])
def test_an_action_asks_for_a_reason_first(console, action):
    run = make_run()
    chosen = {"action": action, "_selected_action": [run.pk]}

    alone = console.get(reverse("admin:agents_agentexecution_act", args=[run.pk, action])).content.decode()
    in_list = console.post(LIST, chosen).content.decode()
    without = act(console, run, action, reason="  ")
    in_list_without = act_on_all(console, action, [run], reason="")

    for page in (alone, in_list, without, in_list_without):
        assert run.run_id in page
        assert 'name="reason"' in page
    for page in (without, in_list_without):
        assert "This field is required." in page
    assert not OperatorAction.objects.exists()
    assert read_run(run.run_id).status == "pending"


def test_ending_a_run_from_its_page(console):
    run = make_run()

    page = act(console, run, "end")

    assert f"Ended as failed. It was in created. ({run.run_id})" in page
    assert [frame["type"] for frame in read_log(run.run_id)] == ["agent_completed"]
    noted = OperatorAction.objects.get()
    assert (noted.by_name, noted.action, noted.run_id, noted.reason) == ("op", "end", run.run_id, "It hangs.")
    assert "It hangs." in page


def test_handing_over_and_cancelling_from_a_runs_page(console):
    run = read_run(register_run(make_user(), terms=make_terms(restartable=True)).run_id)
    claim_runs()

    assert "the next attempt starts" in act(console, run, "hand_over")
    assert read_run(run.run_id).owner == ""
    assert "It is to be cancelled." in act(console, run, "cancel")
    assert read_run(run.run_id).cancel_requested_at is not None


def test_a_form_that_is_sent_twice_makes_one_retry(console, settings):
    run = make_run()
    end(run)

    first, second = [act(console, run, "retry") for _ in range(2)]

    made = AgentExecution.objects.exclude(pk=run.pk).get()
    assert f"Retried as {made.run_id}." in first
    assert f"It was retried already, as {made.run_id}. Nothing was changed." in second
    assert made.thread_id == run.thread_id


def test_in_the_list_an_action_reaches_those_to_which_it_applies_and_says_of_the_others_why(console):
    live, ended = [make_run() for _ in range(2)], make_run()
    end(ended)

    page = act_on_all(console, "end", [*live, ended])

    for run in live:
        assert f"Ended as failed. It was in created. ({run.run_id})" in page
        assert read_run(run.run_id).error_code == "ended_by_operator"
    assert f"It has ended already, as failed. Nothing was changed. ({ended.run_id})" in page
    assert read_run(ended.run_id).completed_seq == 1
    assert OperatorAction.objects.filter(reason="They hang.").count() == 3


def test_a_chosen_run_that_has_left_the_filtered_list_in_the_meantime_is_not_passed_over(console):
    moving, ended = make_run(), make_run()
    end(ended)

    page = act_on_all(console, "cancel", [moving, ended], "?reason=lease_expired")

    assert f"It is to be cancelled. ({moving.run_id})" in page
    assert f"It has ended already, as failed. Nothing was changed. ({ended.run_id})" in page


def test_when_no_run_of_a_whole_list_is_left_it_says_so(console):
    run = make_run()

    page = act_on_all(console, "cancel", [run], "?reason=lease_expired", select_across="1")

    assert "These runs are not there any more. Nothing was done." in page
    assert not OperatorAction.objects.exists()


def test_many_outcomes_are_not_told_one_by_one(console):
    runs = [make_run() for _ in range(13)]

    page = act_on_all(console, "cancel", runs)

    assert page.count("It is to be cancelled.") == 10
    assert "And 3 more to which it was done: see the operator actions." in page


def test_more_runs_than_one_click_may_change_are_refused_as_a_whole(console, monkeypatch):
    monkeypatch.setattr("netra.console.actions.MOST_AT_ONCE", 2)
    runs = [make_run() for _ in range(3)]

    page = act_on_all(console, "end", runs[:1], select_across="1")

    assert "Nothing was done: select fewer." in page
    assert AgentExecution.objects.live().count() == 3


@pytest.mark.parametrize("action", INTERVENTIONS)
def test_the_page_of_a_run_offers_what_fits_it(console, action):
    live, restartable, ended = make_run(), make_run(), make_run()
    AgentExecution.objects.filter(pk=restartable.pk).update(restartable=True)
    end(ended)
    fitting = {
        "cancel": (live, restartable),
        "end": (live, restartable),
        "hand_over": (restartable,),
        "retry": (ended,),
    }

    for run in (live, restartable, ended):
        fits = run in fitting[action]
        page = console.get(reverse("admin:agents_agentexecution_change", args=[run.pk])).content.decode()
        assert (reverse("admin:agents_agentexecution_act", args=[run.pk, action]) in page) == fits


def test_there_is_no_other_action(console):
    assert console.get(reverse("admin:agents_agentexecution_act", args=[make_run().pk, "delete"])).status_code == 404


def test_the_audit_trail_can_be_read_and_not_changed(console):
    run = make_run()
    act(console, run, "end")
    noted = OperatorAction.objects.get()

    row = reverse("admin:agents_operatoraction_change", args=[noted.pk])
    assert "It hangs." in console.get(row).content.decode()
    for verb in ("add", "change", "delete"):
        address = (
            row
            if verb == "change"
            else reverse(f"admin:agents_operatoraction_{verb}", args=[] if verb == "add" else [noted.pk])
        )
        assert console.post(address, {"reason": "Another", "post": "yes"}).status_code == 403
    noted.refresh_from_db()
    assert noted.reason == "It hangs."
