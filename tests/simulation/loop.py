"""An event loop with a time of its own, in which several processes live that can be stopped and killed.

Time moves only when nothing is left to do. What goes to an executor is done on one thread, one job after the other, in
an order that the seed draws. So a test sees the same again with the same seed, and waits for nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from enum import Enum
from functools import partial
from typing import Any, Final

RESOLUTION: Final = 1e-9

_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current_process() -> Process:
    process = _process.get()
    assert process is not None
    return process


class State(Enum):
    RUNNING = "running"
    STOPPED = "stopped"
    KILLED = "killed"


class Process:
    """Whatever was begun by `spawn`, with all that came of it: what an operating system calls a process."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.state = State.RUNNING
        self.held: deque[_Callback] = deque()
        loop.processes.append(self)
        self._context = contextvars.copy_context()
        self._context.run(_process.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.create_task(work, context=self._context.copy())

    def stop(self) -> None:
        """Holds everything, as SIGSTOP does, until `go_on`."""
        self.state = State.STOPPED

    def go_on(self) -> None:
        self.state = State.RUNNING
        while self.held:
            callback = self.held.popleft()
            self.loop.call_soon(callback, context=callback.context)

    def kill(self) -> None:
        """Nothing comes of it any more."""
        self.state = State.KILLED


class Job:
    """A call that waits for its turn on the thread, then for its answer to be noticed."""

    def __init__(self, process: Process | None, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.process = process
        self.call = call
        self.future = future
        self.answer: Callable[[], None] | None = None

    @property
    def may_go_on(self) -> bool:
        return self.process is None or self.process.state is State.RUNNING


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`perform(process, function, args)` does what was given to an executor; `on_time` is told when the time has moved.

    The seed 0 does jobs in the order in which they came and tells their answers at once.
    """

    def __init__(
        self,
        *,
        seed: int,
        perform: Callable[[Process | None, Callable[..., Any], tuple[Any, ...]], Any],
        on_time: Callable[[float], None],
    ) -> None:
        self._now = 0.0
        super().__init__(_IdleSelector(self._turn))
        self._clock_resolution = RESOLUTION
        self._perform = perform
        self._on_time = on_time
        self._chance = random.Random(seed) if seed else None
        self._jobs: list[Job] = []
        self._until = 0.0
        self._turns: int | None = None
        self._ending = False
        self.processes: list[Process] = []
        self.failures: list[BaseException] = []
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        return self._now

    def run(self, seconds: float = 0.0, *, turns: int | None = None) -> None:
        """Goes on until nothing is left to do for so long; or for so many turns of the loop, without time passing.

        Raises what a callback raised.
        """
        self._until, self._turns = self._now + seconds, turns
        self.run_forever()
        if self.failures:
            raise self.failures[0]

    def stop_after(self, turns: int) -> None:
        """Has the `run` under way end after so many turns."""
        self._turns = turns

    def end(self) -> None:
        """Cancels whatever goes on, in killed processes too, without any more jobs; then closes."""
        self._ending = True
        self._jobs.clear()
        while asyncio.all_tasks(self):
            for process in self.processes:
                process.go_on()
            for task in asyncio.all_tasks(self):
                task.cancel()
            self._until, self._turns = self._now + 2.0, None
            self.run_forever()
        self.close()

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        if isinstance(callback, _Callback):
            return super().call_soon(callback, context=context)
        guarded = _Callback(callback, args, context)
        return super().call_soon(guarded, context=guarded.context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        if when > self._now:  # timers within the resolution go off at once: without this, time might never reach them
            when = max(when, self._now + RESOLUTION)
        guarded = _Callback(callback, args, context)
        guarded.handle = super().call_at(when, guarded, context=guarded.context)
        return guarded.handle

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future, process = self.create_future(), _process.get()
        if self._ending:
            future.cancel()
        else:
            self._jobs.append(Job(process, lambda: self._perform(process, function, args), future))
        return future

    def _turn(self, timeout: float | None) -> None:
        """What happens where another loop would wait for the world outside; `timeout` 0: it is busy."""
        if self._turns is not None:
            if self._turns == 0:
                self.stop()
                return
            self._turns -= 1
        if timeout == 0 or self._do_job():
            return
        if timeout is None or self._now + timeout > self._until:
            self._move_to(self._until)
            self.stop()
        else:
            self._move_to(self._now + timeout)

    def _move_to(self, now: float) -> None:
        if now > self._now:
            self._now = now
            self._on_time(now)

    def _do_job(self) -> bool:
        self._jobs = [job for job in self._jobs if job.answer or not job.future.cancelled()]
        going = [job for job in self._jobs if job.may_go_on]
        if not going:
            return False
        job = self._chance.choice(going) if self._chance else going[0]
        if job.answer is None:
            job.answer = self._answer_of(job)
        if self._chance is None or self._chance.random() < 0.5:
            self._jobs.remove(job)
            job.answer()
        return True

    def _answer_of(self, job: Job) -> Callable[[], None]:
        try:
            value = job.call()
        except AssertionError as error:
            self.failures.append(error)
            return job.future.cancel  # type: ignore[return-value]
        except Exception as error:
            return _unless_done(job.future, partial(job.future.set_exception, error))
        return _unless_done(job.future, partial(job.future.set_result, value))

    def _note_failure(self, _: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        if not self._ending:
            self.failures.append(what.get("exception") or RuntimeError(what["message"]))


class _Callback:
    """A callback that its process must be running for."""

    __slots__ = ("_args", "_callback", "_process", "context", "handle")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Any) -> None:
        self._callback = callback
        self._args = args
        self.context: contextvars.Context = context if context is not None else contextvars.copy_context()
        self._process = self.context.get(_process)
        self.handle: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        if self._process is not None and self._process.state is not State.RUNNING:
            self._process.held.append(self)
        elif self.handle is None or not self.handle.cancelled():
            self._callback(*self._args)


class _IdleSelector(selectors.SelectSelector):
    def __init__(self, turn: Callable[[float | None], None]) -> None:
        super().__init__()
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[Any]:
        self._turn(timeout)
        return []


def _unless_done(future: asyncio.Future[Any], tell: Callable[[], None]) -> Callable[[], None]:
    return lambda: None if future.done() else tell()
