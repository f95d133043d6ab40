"""The cache of decoded pictures: a folder for each set of them, with `pixels`, `labels` and `index.json`.

The pixels are a file that is memory-mapped: several processes share it, and it may be larger than the memory.
"""

import contextlib
import hashlib
import json
import math
import mmap
import os
import re
import shutil
import stat
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import torch

from trainer.data.images import Images, Shape
from trainer.errors import ConfigError
from trainer.runtime.console import warn
from trainer.runtime.files import WRITING, sha256_of
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.storage.places import picture_place
from trainer.storage.untrusted import read_json, refuse_pipe

FORMAT = "5"  # to be raised with every change of the files
OLD_SECONDS = 7 * 24 * 3600  # after which an incomplete folder is not being written any more
ELSEWHERE = "name another place by the environment variable XDG_CACHE_HOME"


def cache_folder() -> Path:
    """Return the folder of the cache, created if it does not exist.

    Raises ConfigError if that is impossible, or if other users can write there: their files would be trained on.
    """
    try:
        cache = picture_place()
    except ConfigError as error:
        raise ConfigError(f"decoded pictures are kept in the home folder, and {error}: {ELSEWHERE}") from None
    with cache_errors(cache):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = cache.stat().st_mode
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{cache} can be written by everyone: chmod o-w {cache}, or {ELSEWHERE}")
    return cache


@contextlib.contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Turn an error of the system into ConfigError with the place and the variable that moves it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{cache}, where decoded pictures are kept, cannot be used ({error.strerror or error}): {ELSEWHERE}"
        ) from None


def read_listing(listing: Path) -> str | None:
    """Return the key in a listing, None if it is not one: another text could be a path to any folder."""
    text = listing.read_bytes().decode("ascii", "replace") if listing.is_file() else ""
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def read_cached(folder: Path, shape: Shape, classes: tuple[str, ...]) -> tuple[Images, list[str]] | None:
    """Return the cached images and the names of the pictures that could not be decoded; None if there are none.

    The file is [N, H, W, C], viewed as [N, C, H, W], which is torch's channels-last order. It is read once to compare
    its hash, at about 1.5 GB per second, which takes less time than the statistics of the channels. A folder that was
    altered is removed with a warning.
    """
    if not folder.is_dir():
        return None
    channels, height, width = shape
    try:
        index = read_json(folder / "index.json")
        for name in ("pixels", "labels"):
            refuse_pipe(folder / name)
            with (folder / name).open("rb") as file:
                if sha256_of(file) != index[name]:
                    raise ValueError(name)
        labels = torch.frombuffer(bytearray((folder / "labels").read_bytes()), dtype=torch.int64)
        size = (len(labels), height, width, channels)
        own_validation, left_out = index["own_validation"], index["left_out"]
        if type(own_validation) is not int or not 0 <= own_validation < len(labels):
            raise ValueError("own_validation")
        if not isinstance(left_out, list) or not all(isinstance(name, str) for name in left_out):
            raise ValueError("left_out")
        if not 0 <= labels.min() <= labels.max() < len(classes):
            raise ValueError("labels")
        if (folder / "pixels").stat().st_size != math.prod(size):
            raise ValueError("pixels")
    except (OSError, LookupError, TypeError, ValueError, RuntimeError):
        warn(f"{folder} is not as it was written: the pictures are decoded anew")
        shutil.rmtree(folder)
        return None
    pixels, mapping = map_file(folder / "pixels")
    if pixels.numel() > (memory := physical_memory()):
        warn(
            f"the pictures take {gigabytes(pixels.numel())}, the memory is {gigabytes(memory)}: every epoch reads them"
            " from the disk, which is slow. A smaller dataset.image_size avoids that"
        )
    channels_last = pixels.view(size).permute(0, 3, 1, 2)
    return Images(channels_last, labels, classes, mapping=mapping, own_validation=own_validation), left_out


def map_file(path: Path) -> tuple[torch.Tensor, mmap.mmap]:
    """Return a tensor uint8 [bytes of the file] over a read-only mapping, which needs no memory of its own.

    Reading ahead is off: a batch takes images from all over the file, and the system would read thousands of times as
    much. A file that fits into the memory has just been read completely, for its hash.
    """
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):
        mapping.madvise(mmap.MADV_RANDOM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the tensor is not writable
        return torch.frombuffer(mapping, dtype=torch.uint8), mapping


def refuse_too_large(data_dir: Path, count: int, shape: Shape, cache: Path) -> None:
    """Raise ConfigError if the disk of the cache has too little space for the pixels."""
    needed, free = count * math.prod(shape), shutil.disk_usage(cache).free
    if needed > free:
        raise ConfigError(
            f"data_dir={data_dir}: {count} pictures at {'×'.join(map(str, shape))} need {gigabytes(needed)} in {cache},"
            f" which has {gigabytes(free)} free. Use a smaller dataset.image_size, fewer pictures, or another disk:"
            " XDG_CACHE_HOME"
        )


@contextlib.contextmanager
def new_entry(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which becomes `folder` when the block succeeds and is removed when it fails."""
    _remove_old(folder.parent)
    # A random name: processes in different containers may have the same number.
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.{WRITING}")
    temporary.mkdir()
    try:
        yield temporary
        with contextlib.suppress(OSError):  # another process was first, with the same content
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file of such a temporary folder, which is on the disk when the block ends."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_index(
    temporary: Path, pixels_digest: str, labels: Sequence[int], own_validation: int, left_out: Sequence[str]
) -> None:
    """Write `labels` and `index.json` beside the pixels, the last `own_validation` of which are for validation."""
    numbers = torch.tensor(labels, dtype=torch.int64).numpy().tobytes()
    index = {"pixels": pixels_digest, "labels": hashlib.sha256(numbers).hexdigest(), "own_validation": own_validation}
    for name, content in {
        "labels": numbers,
        "index.json": json.dumps({**index, "left_out": left_out}).encode(),
    }.items():
        with new_file(temporary / name) as file:
            file.write(content)


def _remove_old(cache: Path) -> None:
    """Remove folders of killed processes that are older than a week; each may be as large as the data."""
    for left in cache.glob(f".*.{WRITING}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > OLD_SECONDS:
                shutil.rmtree(left)
