"""A lock on a folder for one process at a time, released when the process ends, however it ends. Imports no torch."""

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
RETRY_SECONDS = 0.2  # `is_held` in another process holds a shared lock for a moment
MAX_NOTE = 200  # bytes that are quoted of the file, which is untrusted


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder while the block runs.

    If another process holds it, wait for it where `wait` is set; otherwise raise RunError with its number.
    """
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
    """Return whether a process holds the lock of the folder."""
    return _holder(folder) is not None


def holder_here(folder: Path) -> int | None:
    """Return the number of the process on this machine that holds the lock, None if there is none."""
    note = re.match(r"process (\d{1,9}) on (.*) since", _holder(folder) or "")
    return int(note[1]) if note and note[2] == platform.node() else None


def _holder(folder: Path) -> str | None:
    """Return the note of the process that holds the lock, None if none does. A killed process leaves its note."""
    try:
        lock = open_regular(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        # The kernel's lock decides, not the note. It is shared, so that several readers do not see each other.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _note(lock)
    except OSError:  # a file system without locks
        return _note(lock) or None
    finally:
        os.close(lock)
    return None


def acquire(lock: int, wait: bool) -> bool:
    """Lock an open file for this process; return whether that succeeded."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(RETRY_SECONDS / 20)
        except OSError:  # a file system without locks: work without one
            return True


def _write(lock: int, note: str) -> None:
    """Write who holds the lock. On a full disk the lock is held without a note."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)


def _note(lock: int) -> str:
    with contextlib.suppress(OSError):
        return os.pread(lock, MAX_NOTE, 0).decode("utf-8", "replace")
    return ""
