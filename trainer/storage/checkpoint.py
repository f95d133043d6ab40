"""Checkpoints as safetensors files: written atomically, verified after writing, read without running code in them."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor

from trainer.errors import RunError
from trainer.runtime.files import replacing, temporary_path
from trainer.runtime.memory import is_out_of_memory, release_frames
from trainer.storage import checkpoint_guard
from trainer.storage.checkpoint_state import Best, Last, from_parts
from trainer.storage.encoding import UnstorableError
from trainer.storage.untrusted import EARLIER_VERSION, refuse_earlier_version

Buffer = bytes | memoryview
Checkpoint = Best | Last
Kind = TypeVar("Kind", Best, Last)
NAMES = {kind: name for name, kind in checkpoint_guard.TYPES.items()}

FORMAT_VERSION = "3"
EARLIER_START = b"PK\x03\x04"  # of a zip file, which torch.save wrote
# A file begins with the length of its header in 8 bytes. The checksum is the first entry of the header, so that its
# position is fixed and it can be filled in after the tensors were hashed.
START = b'{"__metadata__":{"sha256":"'
DIGITS = slice(8 + len(START), 8 + len(START) + 64)
BLANK = b"0" * 64  # in place of the digits while the checksum is computed, as a hash cannot contain itself


class DamagedError(RunError):
    """A checkpoint is incomplete or altered; `before` is the previous one if that one is intact."""

    def __init__(self, reason: str, before: Path | None = None) -> None:
        super().__init__(f"{reason}. The previous checkpoint is intact: {before}" if before else reason)
        self.before = before


def save(path: Path, state: Checkpoint) -> None:
    """Replace the file by this state, or leave it as it was. The replaced file is kept as `previous(path)`.

    Raises RunError if what was written cannot be read back.
    """
    parts = serialize(state)

    def verify_and_keep(aside: Path) -> None:
        """Read the new file back, then keep the old one; both before the new file takes its name."""
        with aside.open("rb") as file:
            if not _checksum_matches(file):
                raise RunError(f"{path} could not be written: what was written cannot be read back")
        _keep(path)

    with replacing(path, verify_and_keep) as file:
        file.writelines(parts)


def serialize(state: Checkpoint) -> list[Buffer]:
    """Return the parts of a safetensors file in their order. Tensors on the CPU are not copied.

    The library's `save` copies each of them twice, and writes the metadata in an order that changes from file to file.
    Raises UnstorableError for a state that could not be read back.
    """
    tensors, description = state.to_parts()
    try:  # what could not be read is not written: it would be noticed when the run is to continue
        checkpoint_guard.validate_names(tensors)
        checkpoint_guard.validate_description(description)
    except ValueError as error:
        raise UnstorableError("the state", str(error)) from None
    header: dict[str, Any] = {
        "__metadata__": {
            "sha256": BLANK.decode(),
            "format_version": FORMAT_VERSION,
            "description": json.dumps(description, separators=(",", ":")),
        }
    }
    contents: list[memoryview] = []
    end = 0
    # The widest numbers first, as in the library: each tensor then begins at a multiple of its element size.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        if tensor.dtype not in NAMES:
            raise UnstorableError(name, f"it is of type {tensor.dtype}. What can be: {', '.join(NAMES.values())}")
        content = _bytes_of(tensor)
        begin, end = end, end + len(content)
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        contents.append(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) + 8 > checkpoint_guard.MAX_HEADER:
        raise UnstorableError("the state", f"{len(tensors)} tensors and what is beside them are too many")
    text += b" " * (-len(text) % 8)  # so that the tensors behind the header are aligned, as in the library
    start = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(start)
    for content in contents:
        digest.update(content)
    return [start[: DIGITS.start], digest.hexdigest().encode(), start[DIGITS.stop :], *contents]


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def previous(path: Path) -> Path:
    """Return the path of the previous version of a checkpoint: last.safetensors → last.previous.safetensors."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _keep(path: Path) -> None:
    """Keep the file as `previous(path)` by a second name or a copy, so that `path` is missing at no moment."""
    aside = temporary_path(previous(path))
    # Without a file yet, or without space for a copy, the new checkpoint is saved all the same.
    with contextlib.suppress(OSError):
        aside.unlink(missing_ok=True)
        try:
            os.link(path, aside)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links, such as exFAT
            _copy(path, aside)
        aside.replace(previous(path))  # atomic; `os.link` itself refuses a name that exists
    aside.unlink(missing_ok=True)


def _copy(path: Path, other: Path) -> None:
    """Copy a file and flush it to the disk, as the original is replaced next."""
    with path.open("rb") as old, other.open("wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())


def load(path: Path) -> Checkpoint:
    """Return the saved state on the CPU. Raises RunError with one line if the file is missing or of another kind.

    Raises DamagedError if it is incomplete or altered.
    """
    try:
        return _read(path)
    except DamagedError as error:
        before = previous(path)
        # The previous checkpoint is named in the error only if it can be read completely.
        try:
            _read(before)
        except RunError:
            raise error from None
        raise DamagedError(str(error), before) from None


def load_as(kind: type[Kind], path: Path) -> Kind:
    """Return what `load` returns. Raises RunError if the file holds the other kind of checkpoint."""
    state = load(path)
    if not isinstance(state, kind):
        raise RunError(f"{path} holds {state.content}, where {kind.content} is expected")
    return state


def _read(path: Path) -> Checkpoint:
    # The order matters: size, checksum, header, version and description are checked before a tensor is read.
    try:
        checkpoint_guard.refuse_oversized(path)
        content = path.read_bytes()  # once: the checked bytes are the bytes that are used
        if content.startswith(EARLIER_START):
            raise RunError(f"{path} {EARLIER_VERSION}")
        matches = _checksum_matches(io.BytesIO(content))
        if matches is False:
            raise DamagedError(f"{path} is incomplete or altered: its checksum does not match")
        metadata = checkpoint_guard.metadata_of(content)
        if "format_version" not in metadata:
            raise RunError(f"{path} is not a checkpoint of this trainer")
        if matches is None:
            raise DamagedError(f"{path} is incomplete or altered: its checksum is missing")
        if (version := metadata.get("format_version")) != FORMAT_VERSION:
            raise RunError(f"{path} has format version {version}; this trainer reads {FORMAT_VERSION}")
        description = checkpoint_guard.description_of(metadata.get("description"))
        return from_parts(_tensors(content), description)
    except FileNotFoundError:
        refuse_earlier_version(path)
        raise RunError(f"{path} does not exist") from None
    except RunError:
        raise
    except OSError as error:  # from a disk or a network: the file itself may be undamaged
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # safetensors, torch and JSON each raise types of their own
        if is_out_of_memory(error):
            release_frames(error)
            raise RunError(f"{path} needs more memory than is free") from None
        raise DamagedError(f"{path} cannot be read as a checkpoint: {checkpoint_guard.reason(error)}") from None


def _tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors by name, sorted, each copied to memory that torch allocates.

    Such memory is aligned to 64 bytes, and the alignment of a matrix may change the last bits of its products. The
    order in which the library returns the tensors changes from call to call.
    """
    tensors: dict[str, Tensor] = safetensors.torch.load(content)
    return {name: tensors.pop(name).clone() for name in sorted(tensors)}  # `pop` frees each one at once


def _checksum_matches(file: IO[bytes]) -> bool | None:
    """Return whether the stored checksum matches the file with blank digits in its place; None if there is none."""
    start = file.read(DIGITS.stop)
    if start[8 : DIGITS.start] != START:
        return None
    digest = hashlib.sha256(start[: DIGITS.start] + BLANK)
    while chunk := file.read(1 << 20):  # 1 MiB: the file may be larger than the free memory
        digest.update(chunk)
    return start[DIGITS] == digest.hexdigest().encode()
