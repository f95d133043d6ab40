"""Checkpoints: written whole or not at all, proven readable, read without running anything that stands in them."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from trainer.errors import RunError

FORMAT_VERSION = 2
WRITING = "writing"  # the suffix of what is not yet in its place
# The comment that a zip archive may end with, and torch's files are zip archives: any reader of them ignores it.
SEAL, HEX = b"sha256 ", 64
COMMENT = len(SEAL) + HEX


class DamagedError(RunError):
    """A checkpoint is torn or altered; `before` is the one before it where that one is whole."""

    def __init__(self, reason: str, before: Path | None = None) -> None:
        super().__init__(f"{reason}. The one before it is whole: {before}" if before else reason)
        self.before = before


def save(path: Path, state: dict[str, Any]) -> None:
    """Replaces the file by this state, or leaves it as it was. The file that is replaced is kept as `previous`."""
    content = io.BytesIO()  # torch's own writer hides from us that a disk is full
    torch.save({"format_version": FORMAT_VERSION, **state}, content)
    content.seek(-2, io.SEEK_END)  # an archive ends with the length of its comment, which was 0
    content.write(COMMENT.to_bytes(2, "little"))
    digest = hashlib.sha256(content.getbuffer()).hexdigest()

    def prove_and_keep(aside: Path) -> None:
        if not _sealed(aside):
            raise RunError(f"{path} could not be written: what was written cannot be read back")
        _keep(path)

    with replacing(path, prove_and_keep) as file:
        file.write(content.getbuffer())
        file.write(SEAL + digest.encode())


def previous(path: Path) -> Path:
    """last.pt → last.previous.pt: what the file was before it was last written."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _keep(path: Path) -> None:
    """A second name for what is about to be replaced: it costs no copy, and at no moment is `path` missing."""
    aside = _aside(previous(path))
    with contextlib.suppress(OSError):  # there is none yet, or the file system has no second names
        os.link(path, aside)
        aside.replace(previous(path))
    aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the file by this text, or leaves it as it was."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, before: Callable[[Path], None] = lambda aside: None) -> Iterator[IO[bytes]]:
    """A file to write aside, flushed to the disk; on success it takes the place of `path`, else it vanishes.

    `before` gets the whole file just before it does so.
    """
    aside = _aside(path)
    try:
        with aside.open("wb") as file:
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


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{WRITING}")


def _flush_folder(folder: Path) -> None:
    """The new name to the disk as well: without it a power cut may bring the old file back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: Path) -> dict[str, Any]:
    """The saved state on the CPU. Raises RunError with one line if the file is absent or of another kind.

    Raises DamagedError if it is torn or altered.
    """
    try:
        return _read(path)
    except DamagedError as error:
        before = previous(path)
        try:
            _read(before)
        except RunError:
            raise error from None
        raise DamagedError(str(error), before) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        sealed = _sealed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except RunError:
        raise
    except Exception as error:  # a damaged archive surfaces as one of a dozen types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedError(f"{path} cannot be read as a checkpoint: {reason}") from None
    if not isinstance(state, dict) or "format_version" not in state:
        raise RunError(f"{path} is not a checkpoint of this trainer")
    if state["format_version"] != FORMAT_VERSION:
        raise RunError(f"{path} has format version {state['format_version']}; this trainer reads {FORMAT_VERSION}")
    if not sealed:
        raise DamagedError(f"{path} is torn or altered: its checksum is missing")
    return state


def _sealed(path: Path) -> bool:
    """Whether the file ends with a checksum. Raises DamagedError if it is not that of all that stands before it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - COMMENT
        file.seek(max(left, 0))
        seal = file.read()
        if left < 0 or not seal.startswith(SEAL):
            return False
        file.seek(0)
        while left and (part := file.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
    if seal != SEAL + digest.hexdigest().encode():
        raise DamagedError(f"{path} is torn or altered: its checksum does not fit")
    return True
