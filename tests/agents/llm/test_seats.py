import asyncio
from contextlib import AsyncExitStack

import pytest

from agents.errors import AgentError
from agents.llm.seats import Seats
from tests.runs import until


class Guest:
    """Sits until told to leave."""

    def __init__(self, seats):
        self.told: list[int] = []
        self.sits = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(seats))

    async def _visit(self, seats):
        async def tell(ahead):
            self.told.append(ahead)

        async with seats.take(tell):
            self.sits = True
            await self.leave.wait()
        self.sits = False


async def test_who_comes_first_is_served_first_and_who_waits_is_told():
    seats = Seats(total=1, waiting=5)
    guests = []
    for _ in range(3):
        guests.append(Guest(seats))
        await until(lambda: guests[-1].sits or guests[-1].told)
    first, second, third = guests
    assert (first.told, second.told, third.told) == ([], [1], [2])

    first.leave.set()
    await until(lambda: second.sits)
    assert not third.sits
    second.leave.set()
    await until(lambda: third.sits)
    third.leave.set()
    await asyncio.gather(*(guest.task for guest in guests))


async def test_a_full_queue_refuses_at_once():
    seats = Seats(total=1, waiting=1)
    guests = [Guest(seats), Guest(seats)]
    await until(lambda: guests[1].told)

    with pytest.raises(AgentError) as refused:
        await Guest(seats).task
    assert refused.value.code == "busy"
    for guest in guests:
        guest.leave.set()
    await asyncio.gather(*(guest.task for guest in guests))


@pytest.mark.parametrize("at_its_turn", [False, True])
async def test_who_gives_up_waiting_takes_no_seat_away(at_its_turn):
    seats = Seats(total=1, waiting=1)
    async with AsyncExitStack() as first:
        await first.enter_async_context(seats.take(nobody))
        second = Guest(seats)
        await until(lambda: second.told)
        if at_its_turn:
            await first.aclose()  # the seat is on its way, and who waits for it has not come to know
        second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)

    third = Guest(seats)
    await until(lambda: third.sits)
    assert (second.sits, third.told) == (False, [])
    third.leave.set()
    await third.task


async def nobody(ahead):
    raise AssertionError("nobody has to wait")
