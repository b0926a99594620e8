import asyncio
import json

import pytest

from agents.database import in_database
from agents.models import ExecutionEvent
from notifications import sender as sender_module
from notifications.sender import EventSender
from notifications.session import DeliverySession
from tests.runs import make_user, read_run, register_run, until

pytestmark = pytest.mark.django_db(transaction=True)


class Wire:
    """A client that reads while `open`, and what it has read."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.codes: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.unsent = 0

    async def send(self, text: str) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.texts.append(text)

    async def close(self, code: int) -> None:
        self.codes.append(code)

    def unsent_bytes(self) -> int:
        return self.unsent


@pytest.fixture
async def wire():
    return Wire()


@pytest.fixture
async def user(transactional_db):
    return await in_database(make_user)


@pytest.fixture
async def session():
    return DeliverySession()


@pytest.fixture
async def sender(wire, session, user):
    made = EventSender(
        user_id=user, session=session, send_text=wire.send, close=wire.close, unsent_bytes=wire.unsent_bytes
    )
    yield made
    made.stop()


def log_run(user: int, length: int) -> str:
    run_id = register_run(user).run_id
    execution = read_run(run_id)
    ExecutionEvent.objects.bulk_create(
        ExecutionEvent(execution=execution, seq=seq, type="x", frame=f"frame {seq}", at=execution.created_at)
        for seq in range(1, length + 1)
    )
    return run_id


async def test_what_comes_live_goes_out_without_the_log(wire, session, sender):
    session.receive("run_1", 1, ["a", "b"])
    sender.wake()
    await until(lambda: wire.texts == ["a", "b"])


async def test_what_is_missing_is_read_from_the_log_in_order(wire, session, sender, user):
    run_id = await in_database(log_run, user, 700)
    session.receive(run_id, 700, ["frame 700"])
    sender.wake()

    await until(lambda: len(wire.texts) == 700)
    assert wire.texts == [f"frame {seq}" for seq in range(1, 701)]


async def test_a_run_of_somebody_else_is_never_read(wire, session, sender):
    run_id = await in_database(log_run, await in_database(make_user), 3)
    session.learn_heads({run_id: 3})
    sender.wake()
    await asyncio.sleep(0.2)

    assert wire.texts == []


async def test_a_resume_ends_with_caught_up(wire, session, sender, user):
    run_id = await in_database(log_run, user, 3)
    session.resume("mark", {run_id: 1}, {run_id: 3})
    sender.wake()
    await until(lambda: len(wire.texts) == 3)

    assert wire.texts[:2] == ["frame 2", "frame 3"]
    assert json.loads(wire.texts[2]) == {"type": "caught_up", "id": "mark", "runs": {run_id: 3}}


async def test_heads_are_told_after_the_events_that_are_due(wire, session, sender):
    session.receive("run_1", 1, ["a"])
    sender.send_head({"run_1": 1})
    sender.send_head({"run_2": 5})
    await until(lambda: len(wire.texts) == 2)

    assert wire.texts[0] == "a"
    assert json.loads(wire.texts[1]) == {"type": "head", "runs": {"run_1": 1, "run_2": 5}}


async def test_a_client_that_reads_no_more_is_closed_with_4408(wire, session, sender, monkeypatch):
    monkeypatch.setattr(sender_module, "STOPPED_READING_SECONDS", 0.1)
    wire.open.clear()
    session.receive("run_1", 1, ["a"])
    sender.wake()

    await until(lambda: wire.codes == [4408])


async def test_nothing_is_kept_for_a_client_that_takes_nothing_until_it_does(wire, session, sender, user, monkeypatch):
    monkeypatch.setattr(sender_module, "NOT_READING_SECONDS", 0.05)
    run_id = await in_database(log_run, user, 5)
    wire.unsent = sender_module.UNSENT_BYTES + 1
    session.receive(run_id, 1, [f"{run_id}:1"])
    sender.wake()
    await until(lambda: wire.texts)

    session.receive(run_id, 2, ["kept for a while"])
    await until(lambda: session._held_events == 0)
    assert len(wire.texts) == 1
    session.receive(run_id, 3, ["not kept"])
    wire.unsent = 0
    session.receive(run_id, 5, ["not kept either"])
    sender.wake()

    await until(lambda: len(wire.texts) == 5)
    assert wire.texts[1:] == [f"frame {seq}" for seq in range(2, 6)]


async def test_a_failure_of_our_own_makes_the_client_come_back(wire, session, sender):
    wire.error = ZeroDivisionError()
    session.receive("run_1", 1, ["a"])
    sender.wake()

    await until(lambda: wire.codes == [1012])


async def test_a_client_that_is_gone_is_no_failure(wire, session, sender):
    wire.error = ConnectionResetError()
    session.receive("run_1", 1, ["a"])
    sender.wake()
    await until(sender._task.done)

    assert wire.codes == []


async def test_a_client_whose_window_is_full_and_that_acks_no_more_is_closed(monkeypatch, wire, session, sender):
    monkeypatch.setattr(sender_module, "STOPPED_READING_SECONDS", 0.05)
    session.ack({})
    session.receive("run", 1, [f"frame {seq}" for seq in range(1, 1_500)])
    sender.wake()

    await until(lambda: wire.codes)

    assert wire.codes == [4408]
    assert len(wire.texts) == 1_000
