"""Files that are written completely or not at all, and the opening of untrusted ones. Imports no torch."""

import contextlib
import errno
import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trainer.errors import ConfigError, RunError
from trainer.runtime.text import undecoded

WRITING = "writing"  # suffix of a file or folder that is not complete yet


def write_text(path: Path, text: str) -> None:
    """Replace the content of a file by this text, or leave the file as it was.

    Raises RunError if the file cannot be written, or the text quotes a name that the locale could not read.
    """
    if reason := undecoded(text):
        raise RunError(f"{path} could not be written: {reason}")
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, before: Callable[[Path], None] = lambda temporary: None) -> Iterator[IO[bytes]]:
    """Yield a temporary file, which replaces `path` when the block succeeds and is removed when it fails.

    `before` is called with the complete temporary file just before it replaces `path`. Raises RunError if the file
    cannot be written, or is a device or a pipe, which a file must not replace.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise RunError(f"{path} could not be written: it is not a regular file")
    temporary = temporary_path(path)
    try:
        _clear_left(path)
        # May be left by a killed process that had the same number, or be a link, which "xb" refuses to follow.
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            # Content before name: after a power cut a rename that reached the disk first would name an empty file.
            os.fsync(file.fileno())
        before(temporary)
        temporary.replace(path)  # atomic: a reader sees the old file or the new one, never a part
        _flush_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):  # the folder may have become read-only or vanished
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> Path:
    """Create a folder if it does not exist, and return it. Raises RunError if it cannot be created: nothing is left."""
    made: list[Path] = []
    try:
        missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.append(path)
    except OSError as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # another process has put something there
                path.rmdir()
        raise RunError(f"{folder} cannot be created: {error.strerror}") from None
    return folder


def expanded(text: str) -> Path:
    """Return a path with `~` expanded. Raises ConfigError if there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or one without a home folder
        raise ConfigError(f"{text}: {Path(text).parts[0]} is nobody's home folder on this machine") from None


def realpath(path: Path) -> Path:
    """Return a path with its links resolved, even where a link points to itself, for which Path.resolve fails."""
    return Path(os.path.realpath(path))


def open_regular(path: Path, flags: int) -> int:
    """Return a descriptor of a regular file in an untrusted folder. Raises OSError for anything else."""
    # A link may point to any file of the user (O_NOFOLLOW); opening a pipe would block until it has a writer.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return descriptor


def sha256_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of an open file, read in pieces of 1 MiB: it may be larger than the memory."""
    content = hashlib.sha256()
    while piece := file.read(1 << 20):
        content.update(piece)
    return content.hexdigest()


def temporary_path(path: Path) -> Path:
    """Return the path at which this process writes a file until it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}.{WRITING}")


def _clear_left(path: Path) -> None:
    """Remove what killed processes have left incomplete of this file; a process that may still write keeps its own."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.{WRITING}"):
        number = left.name.split(".")[-2]
        if number.isascii() and number.isdecimal() and len(number) < 10 and not _lives(int(number)):
            with contextlib.suppress(OSError):  # a folder of this name, or another process has removed it
                left.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 is not sent, it only asks
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        pass
    return True


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder: without it a power cut may bring the replaced file back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not supported by some network file systems
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
