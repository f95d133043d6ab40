"""Files: written whole or not at all. Imports no torch."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trainer.errors import ConfigError, RunError

WRITING = "writing"  # the suffix of what is not yet in its place


def write_text(path: Path, text: str) -> None:
    """Replaces the file by this text, or leaves it as it was."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, before: Callable[[Path], None] = lambda aside: None) -> Iterator[IO[bytes]]:
    """A file to write aside, flushed to the disk; on success it takes the place of `path`, else it vanishes.

    `before` gets the whole file just before it does so.
    """
    aside = temporary_path(path)
    try:
        aside.unlink(missing_ok=True)  # of a killed process of the same number, or a link, which "xb" does not follow
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        before(aside)
        aside.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):  # the folder may have become read-only or vanished
            aside.unlink(missing_ok=True)


def make_folder(folder: Path) -> Path:
    """The folder, which need not be there yet. Raises RunError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} could not be made: {error.strerror}") from None
    return folder


def expanded(text: str) -> Path:
    """The path that was typed or recorded, with `~` as the home folder that it stands for."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or one without a home folder
        raise ConfigError(f"{text}: {Path(text).parts[0]} is nobody's home folder on this machine") from None


def realpath(path: Path) -> Path:
    """Where a path leads. Path.resolve fails for a link that leads to itself."""
    return Path(os.path.realpath(path))


def open_regular(path: Path, flags: int) -> int:
    """A descriptor of a plain file in a folder that may be a stranger's. Raises OSError for anything else.

    A link is not followed, as it may lead anywhere, and a pipe, which would wait for its other end, is not waited for.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return descriptor


def sha256_of(file: IO[bytes]) -> str:
    """Of an open file, piece by piece: it may be larger than the memory."""
    content = hashlib.sha256()
    while piece := file.read(1 << 20):
        content.update(piece)
    return content.hexdigest()


def temporary_path(path: Path) -> Path:
    """Where a file of this process stands until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.{WRITING}")


def _flush_folder(folder: Path) -> None:
    """The new name to the disk as well: without it a power cut may bring the old file back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
