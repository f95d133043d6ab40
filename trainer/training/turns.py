"""Runs that advance in turns in one process, a step at a time (`sweep.concurrent`).

Each run is an ordinary call in a thread of its own, and only the thread whose turn it is computes: what a run changes
in the process while it trains is exchanged at each turn, so every run has the numbers that it has alone. On a GPU the
kernels of all runs overlap, because a turn ends when a step has been given to the device, not when it is finished.
"""

import contextvars
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from trainer.runtime import console
from trainer.runtime.signals import shared_stop
from trainer.training.streams import own_stream

GROWTH = 1.1  # `auto`: twice as many runs must train this many times as many steps a second
WINDOW_SECONDS, WINDOW_STEPS = 2.0, 40  # over which steps are counted, at least
FREE_SHARE = 0.5  # of the GPU's memory, which must be free before more runs begin
ENVIRONMENT = "WANDB_DATA_DIR"  # set by a run while it trains (`records/wandb_mirror.py`)

_thread = threading.local()
Task = Callable[[], None]


def pass_turn() -> None:
    """Let the other runs of the group train a step each. Does nothing in a run that is trained alone."""
    seat: _Seat | None = getattr(_thread, "seat", None)
    if seat:
        seat.group.pass_turn(seat)


class TurnTaking:
    """A group of at most `count` runs that advance in turns; None: as many as raise the number of steps a second.

    `clock` returns seconds.
    """

    def __init__(self, count: int | None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.limit = count or 1
        self.throughput = None if count else _Throughput(clock)
        self.ring: list[_Seat] = []  # in the order of their turns; the first one's turn it is
        self.errors: list[BaseException] = []
        self.ended = threading.Event()

    def run(self, tasks: Iterable[Task]) -> None:
        """Call all tasks. After an exception of one no other begins; it is raised once those that run have ended.

        A signal to stop reaches all tasks that run.
        """
        self.tasks: Iterator[Task] = iter(tasks)
        before = _ProcessState()
        with shared_stop() as self.stop:
            self._fill()
            if self.ring:
                self.ring[0].wake.release()
                while not self.ended.wait(0.5):  # bounded: so that Python handles signals in this thread
                    pass
        before.restore()
        if self.errors:
            raise self.errors[0]
        if self.stop:  # it arrived while nothing was trained
            raise self.stop.error()

    def pass_turn(self, seat: "_Seat") -> None:
        """End the turn of a seat after a step, and return when its next one begins."""
        if self.throughput and self.throughput.has_risen(len(self.ring)):
            self.limit = 2 * len(self.ring)
            self._fill()
        if len(self.ring) == 1:
            return
        state = _ProcessState()
        self.ring.append(self.ring.pop(0))
        self.ring[0].wake.release()
        seat.wake.acquire()
        state.restore()

    def leave(self, seat: "_Seat") -> None:
        """End the last turn of a seat."""
        self.ring.remove(seat)
        if self.ring:
            self.ring[0].wake.release()
        else:
            self.ended.set()

    def next_task(self) -> Task | None:
        """Return the next task, None if no further one is to begin."""
        if self.errors or self.stop or len(self.ring) > self.limit:
            return None
        try:
            return next(self.tasks, None)
        except BaseException as error:
            self.errors.append(error)
            return None

    def _fill(self) -> None:
        """Begin tasks until the limit is reached; each gets its first turn in its order."""
        while len(self.ring) < self.limit:
            task = self.next_task()
            if task is None:
                return
            self.ring.append(_Seat(self, task))
            self.ring[-1].thread.start()


class _Seat:
    """A place in the group: a thread that calls one task after the other."""

    def __init__(self, group: TurnTaking, task: Task) -> None:
        self.group, self.task = group, task
        self.wake = threading.Lock()
        self.wake.acquire()  # released when the turn begins
        self.thread = threading.Thread(target=contextvars.copy_context().run, args=(self._work,), daemon=True)

    def _work(self) -> None:
        _thread.seat = self
        self.wake.acquire()
        try:
            _ProcessState.fresh()
            with own_stream():  # on one stream the kernels of all runs would wait for each other
                task: Task | None = self.task
                while task:
                    task()
                    task = self.group.next_task()
        except BaseException as error:  # raised again in the main thread
            self.group.errors.append(error)
        finally:
            self.group.leave(self)


class _ProcessState:
    """The random generators and settings of the process, as they are at a moment."""

    def __init__(self) -> None:
        self.generator = torch.get_rng_state()
        # A CUDA graph draws from the generator that was torch's own when it was captured. Each run has one, which is
        # exchanged as a whole: with a shared one the graphs of two streams would write to the same state.
        self.cuda = [generator.graphsafe_get_state() for generator in _cuda_generators()]
        self.deterministic = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
        self.output = console.current_files()
        self.variable = os.environ.get(ENVIRONMENT)

    def restore(self) -> None:
        """Set everything as it was."""
        torch.set_rng_state(self.generator)
        for generator, state in zip(_cuda_generators(), self.cuda, strict=True):
            generator.graphsafe_set_state(state)
        algorithms, torch.backends.cudnn.benchmark = self.deterministic
        torch.use_deterministic_algorithms(algorithms)
        console.set_files(self.output)
        if self.variable is None:
            os.environ.pop(ENVIRONMENT, None)
        else:
            os.environ[ENVIRONMENT] = self.variable

    @staticmethod
    def fresh() -> None:
        """Begin a run: generators of its own, and the output of the process."""
        for generator in _cuda_generators():
            generator.graphsafe_set_state(generator.clone_state())
        console.set_files((None, None))


def _cuda_generators() -> tuple[Any, ...]:
    if not torch.cuda.is_available():
        return ()
    torch.cuda.init()
    return tuple(torch.cuda.default_generators)


class _Throughput:
    """The steps a second of the group, which decide whether more runs at once are worth it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.settled = clock, False
        self.best, self.steps, self.started = 0.0, 0, -math.inf

    def has_risen(self, seats: int) -> bool:
        """Count a step; return True once if this many runs at once are enough faster than half as many were."""
        if self.settled:
            return False
        if self.started == -math.inf:  # the first step of a number of runs also warms up
            self.steps, self.started = 0, self.clock()
            return False
        self.steps += 1
        seconds = self.clock() - self.started
        if seconds < WINDOW_SECONDS or self.steps < WINDOW_STEPS * seats:
            return False
        rate = self.steps / seconds
        self.settled = rate < GROWTH * self.best or not _half_is_free()
        self.best, self.started = rate, -math.inf
        return not self.settled


def _half_is_free() -> bool:
    if not torch.cuda.is_available():
        return True
    free, total = torch.cuda.mem_get_info()
    return free > FREE_SHARE * total
