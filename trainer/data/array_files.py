"""NumPy's files: the arrays in an .npz or in the .npy files of a folder, whose headers are read before their values.

Nothing is unpickled: an array of Python objects is refused.
"""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from trainer.errors import ConfigError, RunError, printable
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.storage.untrusted import refuse_pipe


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, of which the header has been read. `what`: its file and name."""

    what: str
    shape: tuple[int, ...]
    dtype: np.dtype
    opened: Callable[[], AbstractContextManager[IO[bytes]]]

    def read(self) -> np.ndarray:
        """Return the values. Raises ConfigError if they do not fit into the memory, RunError for a damaged file."""
        refuse_larger_than_memory(self.shape, self.dtype, self.what)
        with _damage_told(self.what), self.opened() as file:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):  # at its end a zip file's checksum is compared
                raise ValueError("it holds more bytes than its header says")
            return array


def refuse_larger_than_memory(shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
    """Raise ConfigError, which begins with `what`, if an array to be made of pixels does not fit into the memory."""
    # Bytes are kept as they are, other numbers become float32 while both are in memory.
    needed = math.prod(shape) * (dtype.itemsize + (0 if dtype == np.uint8 else 4))
    if needed > (memory := physical_memory()):
        raise ConfigError(
            f"{what}: {'×'.join(map(str, shape))} values of type {dtype} need {gigabytes(needed)}, the memory is"
            f" {gigabytes(memory)}"
        )


def arrays_in(path: Path) -> Mapping[str, StoredArray]:
    """Return the arrays of an .npz, or of a folder of .npy files, by their names in small letters."""
    if path.is_dir():
        return dict(_stored(file, file.stem, str(file), _plain(file)) for file in sorted(path.glob("*.npy")))
    with _damage_told(str(path)):
        refuse_pipe(path)
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    return dict(_stored(path, name, f"{path}: {printable(name)}", _member(path, name)) for name in names)


def array_in(path: Path) -> np.ndarray:
    """Return the array of an .npy file. Raises ConfigError for Python objects, RunError for a damaged file."""
    return _stored(path, path.stem, str(path), _plain(path))[1].read()


def _plain(path: Path) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: path.open("rb")


def _member(path: Path, name: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            yield file

    return opened


def _stored(
    path: Path, name: str, what: str, opened: Callable[[], AbstractContextManager[IO[bytes]]]
) -> tuple[str, StoredArray]:
    with _damage_told(what):
        refuse_pipe(path)
        with opened() as file:
            version = np.lib.format.read_magic(file)
            # Version 3 is 2 with names of fields that are not Latin-1; pixels and labels have no fields.
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            if any(length < 0 for length in shape):
                raise ValueError(f"a shape of {shape}")
    if dtype.hasobject or dtype.fields:
        kind = "Python objects, which could run code when they are read" if dtype.hasobject else "structures"
        raise ConfigError(
            f"{what}: an array of {kind}. Accepted: numbers, and texts as labels (np.asarray(x, dtype=…))"
        )
    return name.lower(), StoredArray(what, shape, dtype, opened)


@contextlib.contextmanager
def _damage_told(what: str) -> Iterator[None]:
    """Turn what NumPy and zipfile raise for a damaged file into RunError with one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"{what}: {error.strerror}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, RunError | ConfigError):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{what} is damaged or no file of NumPy ({first})") from None
