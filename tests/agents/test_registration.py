import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import connection

from agents.errors import Busy, LimitReached, NotFound, RequestIdReused, UnknownAgent
from agents.ids import Prefix, is_id, new_id
from agents.models import AgentExecution, ExecutionEvent, PhaseTransition, Thread
from agents.registration import register, request_cancel
from agents.runs import RunRequest
from tests.runs import claim_runs, make_terms, make_user, read_run, register_run

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(db):
    return make_user("ada")


def test_a_request_becomes_a_pending_run_in_a_thread_of_its_own(ada):
    made = register_run(ada, "analyst", "  Count\nthe   rows. ", request_id="r1", params={"n": 1})

    run = read_run(made.run_id)
    assert is_id(made.run_id, Prefix.RUN)
    assert (run.status, run.phase, run.attempt, run.owner, run.last_seq) == ("pending", "created", 0, "", 0)
    assert (run.user_id, run.agent_name, run.request_id, run.timeout) == (ada, "analyst", "r1", 40.0)
    assert run.correlation_id
    assert run.thread.thread_id == made.thread_id
    assert run.thread.title == "Count the rows."
    assert (made.duplicate, made.queue_position, made.interrupts) == (False, 0, [])
    assert not ExecutionEvent.objects.exists()
    assert not PhaseTransition.objects.exists()


def test_the_same_request_again_is_the_same_run(ada):
    first = register_run(ada, request_id="r1", params={"a": [1, {"b": None}]}, timeout=3.0)

    again = register_run(ada, request_id="r1", params={"a": [1, {"b": None}]}, timeout=3.0)

    assert again.duplicate
    assert (again.run_id, again.thread_id) == (first.run_id, first.thread_id)
    assert AgentExecution.objects.count() == Thread.objects.count() == 1


def test_the_same_request_again_is_the_same_run_also_when_it_has_ended_or_a_limit_is_reached(ada):
    first = register_run(ada, request_id="r1")

    again = register_run(ada, request_id="r1", terms=make_terms(live_limit=1))

    assert again.run_id == first.run_id


def test_terms_are_not_asked_for_a_request_that_is_known(ada):
    first = register_run(ada, request_id="r1")

    def refuse():
        raise UnknownAgent("There is no such agent.")

    again = register(user_id=ada, request_id="r1", request=RunRequest(agent="test", message="Go."), terms=refuse)

    assert again.run_id == first.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"agent": "other"},
        {"message": "Stop."},
        {"params": {"a": 1}},
        {"timeout": 2.0},
        {"on_busy": "reject"},
        {"thread_id": "thread_x"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_request_id_with_other_content_is_refused_before_anything_else(ada, change):
    register_run(ada, request_id="r1")

    with pytest.raises(RequestIdReused) as raised:
        register_run(ada, request_id="r1", terms=make_terms(live_limit=0), **change)

    assert (raised.value.code, raised.value.field) == ("request_id_reused", "request_id")
    assert AgentExecution.objects.count() == 1


def test_two_users_may_use_the_same_request_id(ada):
    bob = make_user("bob")

    assert register_run(ada, request_id="r1").run_id != register_run(bob, request_id="r1").run_id


def test_a_refused_request_leaves_nothing_and_its_request_id_free(ada):
    def refuse():
        raise UnknownAgent("There is no such agent.")

    with pytest.raises(UnknownAgent):
        register(user_id=ada, request_id="r1", request=RunRequest(agent="x", message="Go."), terms=refuse)

    assert not AgentExecution.objects.exists()
    assert not Thread.objects.exists()
    assert register_run(ada, "other", request_id="r1").duplicate is False


def test_a_thread_of_ones_own_is_continued(ada):
    first = register_run(ada)

    second = register_run(ada, thread_id=first.thread_id)

    assert second.thread_id == first.thread_id
    assert Thread.objects.count() == 1


@pytest.mark.parametrize("thread_id", ["", "thread_x", "run_01jd3w3v6zf8qbm3w2k4h8s9ta", "\0", "x" * 1_000])
def test_a_malformed_thread_id_is_not_found(ada, thread_id):
    with pytest.raises(NotFound) as raised:
        register_run(ada, thread_id=thread_id)

    assert raised.value.field == "thread_id"
    assert not AgentExecution.objects.exists()


def test_somebody_elses_thread_answers_like_an_unknown_one(ada):
    bobs = register_run(make_user("bob")).thread_id

    errors = []
    for thread_id in (bobs, new_id(Prefix.THREAD)):
        with pytest.raises(NotFound) as raised:
            register_run(ada, request_id="r1", thread_id=thread_id)
        errors.append((raised.value.code, raised.value.message, raised.value.field))

    assert errors[0] == errors[1]
    assert AgentExecution.objects.filter(user_id=ada).count() == 0
    assert register_run(ada, request_id="r1").duplicate is False


def test_the_limit_of_live_runs_holds_for_each_user_alone(ada):
    terms = make_terms(live_limit=2)
    for _ in range(2):
        register_run(ada, terms=terms)

    with pytest.raises(LimitReached, match="2 runs") as raised:
        register_run(ada, terms=terms)

    assert raised.value.code == "limit_reached"
    assert AgentExecution.objects.count() == 2
    assert register_run(make_user("bob"), terms=terms).duplicate is False


def test_a_busy_thread_queues_rejects_or_interrupts_as_asked(ada):
    first = register_run(ada)
    queued = register_run(ada, thread_id=first.thread_id)

    with pytest.raises(Busy) as raised:
        register_run(ada, thread_id=first.thread_id, on_busy="reject")
    interrupting = register_run(ada, thread_id=first.thread_id, on_busy="interrupt")

    assert raised.value.code == "busy"
    assert (queued.queue_position, queued.interrupts) == (1, [])
    assert (interrupting.queue_position, interrupting.interrupts) == (2, [first.run_id, queued.run_id])
    assert AgentExecution.objects.count() == 3


def test_a_thread_that_is_free_is_not_busy(ada):
    other = register_run(ada)
    free = Thread.objects.create(user_id=ada)

    made = register_run(ada, thread_id=free.thread_id, on_busy="reject")

    assert made.run_id != other.run_id
    assert made.queue_position == 0


def test_the_queue_position_counts_the_runs_that_must_start_before(ada):
    terms = make_terms(running_limit=2)

    assert [register_run(ada, terms=terms).queue_position for _ in range(4)] == [0, 0, 1, 2]


def test_texts_that_a_database_dislikes_are_kept_as_they_are(ada):
    message = "NUL \0, right-to-left \u202e, <b>markup</b>, 💥"

    made = register_run(ada, request_id="r1", message=message, params={"\0": "\0"})

    assert "\0" not in read_run(made.run_id).request
    assert claim_runs()[0].run.request == RunRequest(agent="test", message=message, params={"\0": "\0"})


@pytest.mark.django_db(transaction=True)
def test_one_request_sent_many_times_at_once_is_one_run():
    ada, gate = make_user("ada"), threading.Barrier(8)

    def send() -> tuple[str, bool]:
        gate.wait()
        try:
            made = register_run(ada, request_id="r1")
            return made.run_id, made.duplicate
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for future in [pool.submit(send) for _ in range(8)]]

    assert len({run_id for run_id, _ in answers}) == 1
    assert sorted(duplicate for _, duplicate in answers) == [False] + [True] * 7
    assert AgentExecution.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_requests_at_once_do_not_get_past_the_limit():
    ada, gate = make_user("ada"), threading.Barrier(8)

    def send() -> bool:
        gate.wait()
        try:
            register_run(ada, terms=make_terms(live_limit=3))
        except LimitReached:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for future in [pool.submit(send) for _ in range(8)]]

    assert sum(answers) == AgentExecution.objects.count() == 3


def test_a_cancel_is_noted_once_with_its_first_time(ada):
    run_id = register_run(ada).run_id

    request_cancel(user_id=ada, run_id=run_id, now=NOW)
    answer = request_cancel(user_id=ada, run_id=run_id, now=datetime(2030, 1, 1, tzinfo=UTC))

    assert (answer.run_id, answer.status) == (run_id, "pending")
    assert read_run(run_id).cancel_requested_at == NOW


def test_cancelling_a_run_that_has_ended_changes_nothing(ada):
    run_id = register_run(ada).run_id
    AgentExecution.objects.update(status="lost", phase="lost", completed_at=NOW, completed_seq=0)

    answer = request_cancel(user_id=ada, run_id=run_id, now=NOW)

    assert answer.status == "lost"
    assert read_run(run_id).cancel_requested_at is None


def test_somebody_elses_run_cannot_be_cancelled_and_answers_like_an_unknown_one(ada):
    bobs = register_run(make_user("bob")).run_id

    errors = []
    for run_id in (bobs, new_id(Prefix.RUN), "run_x", bobs.replace("run", "thread"), "\0"):
        with pytest.raises(NotFound) as raised:
            request_cancel(user_id=ada, run_id=run_id, now=NOW)
        errors.append((raised.value.message, raised.value.field))

    assert len(set(errors)) == 1
    assert read_run(bobs).cancel_requested_at is None


def test_an_operator_cancels_anybodys_run(ada):
    run_id = register_run(ada).run_id

    request_cancel(user_id=None, run_id=run_id, now=NOW)

    assert read_run(run_id).cancel_requested_at == NOW
