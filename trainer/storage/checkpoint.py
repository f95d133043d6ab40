"""Checkpoints: written whole or not at all, proven readable, read without running anything that stands in them."""

import contextlib
import hashlib
import io
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from trainer.errors import RunError
from trainer.runtime.files import replacing, temporary_path
from trainer.runtime.memory import is_out_of_memory, release_frames
from trainer.storage import checkpoint_guard

FORMAT_VERSION = 2
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
    """A second name, or a copy, of what is about to be replaced: at no moment is `path` missing."""
    aside = temporary_path(previous(path))
    with contextlib.suppress(OSError):  # there is none yet, or no room for it
        aside.unlink(missing_ok=True)
        try:
            os.link(path, aside)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without second names
            _copy(path, aside)
        aside.replace(previous(path))
    aside.unlink(missing_ok=True)


def _copy(path: Path, other: Path) -> None:
    """To the disk: the file that is copied is about to go."""
    with path.open("rb") as old, other.open("wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())


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
        checkpoint_guard.refuse_giant(path)
        sealed = _sealed(path)
        checkpoint_guard.refuse_bomb(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of, such as sparse tensors, is refused
            state = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint_guard.refuse_oddities(state)
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except RunError:
        raise
    except OSError as error:  # of a disk or a network: the file may be whole
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged archive surfaces as one of a dozen types
        if is_out_of_memory(error):
            release_frames(error)
            raise RunError(f"{path} needs more memory than is free") from None
        raise DamagedError(f"{path} cannot be read as a checkpoint: {checkpoint_guard.reason(error)}") from None
    if type(state) is not dict or type(state.get("format_version")) is not int:
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
