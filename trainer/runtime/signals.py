"""What stops a run: Ctrl-C, and a cluster's warning that the machine is about to be taken away."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from trainer.errors import Interrupted, Preempted

# Slurm, LSF and Grid Engine warn by one of these, Kubernetes and systemd by the first. SIGUSR2 is submitit's own.
WARNINGS = (signal.SIGTERM, signal.SIGUSR1)


class Stop:
    """The signal that has asked for a stop, if one has."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler while a run trains: it goes on to the end of the step. A second Ctrl-C leaves at once."""
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            with suppress(OSError):  # of a full disk: to leave is what counts
                if sys.stdout.isatty():
                    os.write(1, b"\x1b[?25h\n")  # the progress bar has hidden the cursor
                os.write(2, b"trainer: left at once, by a second Ctrl-C. What was saved before it is kept\n")
            os._exit(130)
        self.signal = signal.Signals(number)

    def error(self) -> Interrupted:
        """What to raise once the state is saved."""
        return Interrupted() if self.signal in (None, signal.SIGINT) else Preempted(self.signal.name)


def raise_preempted(number: int, frame: FrameType | None) -> None:
    """The handler while nothing trains."""
    raise Preempted(signal.Signals(number).name)


def install_handlers() -> None:
    """From here on a cluster's warning is raised as Evicted."""
    for number in WARNINGS:
        signal.signal(number, raise_preempted)


def ignore_signals() -> None:
    """From here on nothing disturbs the leaving, which has begun."""
    for number in (signal.SIGINT, *WARNINGS):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def defer_signals(numbers: tuple[signal.Signals, ...] = (signal.SIGINT, *WARNINGS)) -> Iterator[Stop]:
    """Within, signals are noted instead of interrupting. Those that a launcher has taken for itself are left to it."""
    stop = Stop()
    ours = (signal.SIG_DFL, signal.default_int_handler, raise_preempted)
    free = [number for number in numbers if signal.getsignal(number) in ours]
    if threading.current_thread() is not threading.main_thread():
        free = []  # only the main thread is told of signals
    before = {number: signal.signal(number, stop.note) for number in free}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
