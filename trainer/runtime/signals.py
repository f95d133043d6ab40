"""The signals that stop a run: Ctrl-C, and a cluster's warning before it takes the machine away. Imports no torch."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from trainer.errors import Interrupted, Preempted

# Slurm, LSF and Grid Engine send one of these, Kubernetes and systemd the first. SIGUSR2 is left to submitit.
WARNINGS = (signal.SIGTERM, signal.SIGUSR1)


_guest = False  # whether the process is another program's, which must outlive what this one does


@contextmanager
def as_guest() -> Iterator[None]:
    """Let a second Ctrl-C in the block raise KeyboardInterrupt, which by default ends the process."""
    global _guest  # noqa: PLW0603 - signals belong to the process
    before, _guest = _guest, True
    try:
        yield
    finally:
        _guest = before


class Stop:
    """The signal that requested a stop; false until there is one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal during training: the run stops after the step. A second Ctrl-C ends the process at once."""
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            if _guest:
                raise KeyboardInterrupt
            # os.write, because the signal may have interrupted a print, which cannot be entered twice.
            with suppress(OSError):  # a full disk: the process ends all the same
                if sys.stdout.isatty():
                    os.write(1, b"\x1b[?25h\n")  # show the cursor, which the progress bar hides
                os.write(2, b"trainer: stopped at once by a second Ctrl-C. The last saved state is kept\n")
            os._exit(130)
        self.signal = signal.Signals(number)

    def error(self) -> Interrupted:
        """Return the exception to raise once the state is saved."""
        return Interrupted() if self.signal in (None, signal.SIGINT) else Preempted(self.signal.name)


def raise_preempted(number: int, frame: FrameType | None) -> None:
    """Handle a cluster's warning while nothing is trained."""
    raise Preempted(signal.Signals(number).name)


def install_handlers() -> None:
    """Raise a cluster's warning as Preempted from here on."""
    for number in WARNINGS:
        signal.signal(number, raise_preempted)


def ignore_signals() -> None:
    """Ignore all these signals from here on: the process is ending."""
    for number in (signal.SIGINT, *WARNINGS):
        signal.signal(number, signal.SIG_IGN)


# The stop of a group of runs in threads of one process, which cannot handle signals themselves.
_shared: list[Stop] = []


@contextmanager
def shared_stop() -> Iterator[Stop]:
    """Note signals while the block runs, and let `defer_signals` in other threads yield the same object."""
    with defer_signals() as stop:
        _shared.append(stop)
        try:
            yield stop
        finally:
            _shared.remove(stop)


@contextmanager
def defer_signals(numbers: tuple[signal.Signals, ...] = (signal.SIGINT, *WARNINGS)) -> Iterator[Stop]:
    """Note signals instead of raising them while the block runs. Signals that a launcher handles are left to it."""
    here = threading.current_thread() is threading.main_thread()
    stop = _shared[-1] if _shared and not here else Stop()
    ours = (signal.SIG_DFL, signal.default_int_handler, raise_preempted)
    # The handler of another program, such as that of a loop of asyncio, would wait until the training is over.
    taken = [signal.SIGINT] if _guest and callable(signal.getsignal(signal.SIGINT)) else []
    free = [number for number in numbers if signal.getsignal(number) in ours or number in taken]
    if not here:
        free = []  # Python allows handlers in the main thread only
    before = {number: signal.signal(number, stop.note) for number in free}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
