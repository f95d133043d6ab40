"""A folder that one process works in at a time; the lock goes with the process, however it ends. Imports no torch."""

import contextlib
import fcntl
import os
import platform
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from trainer.errors import RunError
from trainer.runtime.files import open_regular

LOCK = ".lock"
PATIENCE_SECONDS = 0.2  # `is_held` takes the lock for a moment: that is nobody's work
MOST_NOTED = 200  # bytes: whatever lies there, a line of it is told


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """The folder for this process alone. Raises RunError saying who holds it; with `wait`, waits for them."""
    path = folder / LOCK
    try:
        lock = open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}") from None
    try:
        if not acquire(lock, wait):
            raise RunError(
                f"{folder} is being worked on by {_note(lock) or 'another process'}. Wait for it, or stop it"
            )
        _write(lock, f"process {os.getpid()} on {platform.node()} since {datetime.now():%Y-%m-%d %H:%M:%S}")
        try:
            yield
        finally:
            _write(lock, "")
    finally:
        os.close(lock)


def is_held(folder: Path) -> bool:
    """Whether a process is at work in the folder."""
    return _holder(folder) is not None


def holder_here(folder: Path) -> int | None:
    """The process on this machine that holds the folder."""
    found = re.match(r"process (\d{1,9}) on (.*) since", _holder(folder) or "")
    return int(found[1]) if found and found[2] == platform.node() else None


def _holder(folder: Path) -> str | None:
    """What whoever holds the folder noted, None where nobody does: a killed one's note stays, and means nothing."""
    try:
        lock = open_regular(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _note(lock)
    except OSError:  # a file system without locks
        return _note(lock) or None
    finally:
        os.close(lock)
    return None


def acquire(lock: int, wait: bool) -> bool:
    """Whether the open file is this process's now."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(PATIENCE_SECONDS / 20)
        except OSError:  # a file system without locks: nobody can be kept out there
            return True


def _write(lock: int, note: str) -> None:
    """Who holds it, for those who ask: on a full disk nobody is told."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)


def _note(lock: int) -> str:
    with contextlib.suppress(OSError):
        return os.pread(lock, MOST_NOTED, 0).decode("utf-8", "replace")
    return ""
