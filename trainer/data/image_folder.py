"""The user's own pictures, `<data_dir>/train/<class>/*`, decoded once and then memory-mapped from a cache.

The key of the cache is a SHA-256 of the options and of every picture's class, name and bytes. A listing, whose key is
made of names, sizes and modification times only, holds that key, so that the next run need not read every picture.
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
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from trainer.data.decode import MAX_BYTES, SUFFIXES, decode, decode_error
from trainer.data.images import Images, Part, Shape
from trainer.errors import ConfigError, RunError
from trainer.runtime.console import progress, warn
from trainer.runtime.files import WRITING, expanded, realpath, replacing, sha256_of, write_text
from trainer.runtime.memory import gigabytes, physical_memory
from trainer.runtime.text import undecoded
from trainer.storage.untrusted import read_json, refuse_pipe

FORMAT = "4"  # of the cache; to be raised with every change of its files
OLD_SECONDS = 7 * 24 * 3600  # after which an incomplete folder is not being written any more


def read(data_dir: Path, part: Part, image_size: int, grayscale: bool, on_corrupt_image: str) -> Images:
    """Return one part, from the cache or decoded.

    Raises ConfigError if there is no such folder or no space for its pixels, and RunError naming a picture that cannot
    be decoded.
    """
    classes = _classes(data_dir / "train")
    if not (data_dir / part).is_dir():
        raise ConfigError(f"data_dir={data_dir}: has no {part} part, {data_dir / part}/<class>/ with pictures")
    files = _files(data_dir / part, classes)
    shape = (1 if grayscale else 3, image_size, image_size)
    options = (FORMAT, str(image_size), str(grayscale), on_corrupt_image, *classes)
    cache = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ablation-trainer" / "images"
    _refuse_writable(cache)
    listing = cache / f"{_sha256([*options, *(file.stamp for file in files)])}.listing"
    listed_key = _read_listing(listing)
    if listed_key and (images := _read_cache(cache / listed_key, shape, classes)):
        return images
    contents = (_content_stamp(file.path) for file in progress(files, f"Reading {data_dir / part}"))
    key = _sha256([*options, *contents])
    images = _read_cache(cache / key, shape, classes)  # the same pictures may have been moved or touched
    if images is None:
        _refuse_too_large(data_dir, len(files), shape, cache)
        _decode_all(files, classes, shape, cache / key, skip=on_corrupt_image == "skip")
        images = _read_cache(cache / key, shape, classes)
    if images is None:
        raise RunError(f"{cache / key} is not as it was written: another program writes there. Remove it")
    write_text(listing, key)  # last: it names a cache that has been checked
    return images


def _refuse_writable(cache: Path) -> None:
    """Create the cache. Raises ConfigError if other users can write there, because their files would be trained on."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cache.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{cache} can be written by everyone: chmod o-w {cache}, or name another place: XDG_CACHE_HOME"
        )


def _read_listing(listing: Path) -> str | None:
    """Return the key in a listing, None if it is not one: another text could be a path to any folder."""
    text = listing.read_bytes().decode("ascii", "replace") if listing.is_file() else ""
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def _read_cache(folder: Path, shape: Shape, classes: tuple[str, ...]) -> Images | None:
    """Return the cached images, None if there are none. A folder that was altered is removed with a warning.

    The file is [N, H, W, C], viewed as [N, C, H, W], which is torch's channels-last order. It is read once to compare
    its hash, at about 1.5 GB per second, which takes less time than the statistics of the channels.
    """
    if not folder.is_dir():
        return None
    channels, height, width = shape
    try:
        checksums = read_json(folder / "sha256.json")
        for name in ("pixels", "labels"):
            refuse_pipe(folder / name)
            with (folder / name).open("rb") as file:
                if sha256_of(file) != checksums[name]:
                    raise ValueError(name)
        labels = torch.frombuffer(bytearray((folder / "labels").read_bytes()), dtype=torch.int64)
        size = (len(labels), height, width, channels)
        if not 0 <= labels.min() <= labels.max() < len(classes):
            raise ValueError("labels")
        if (folder / "pixels").stat().st_size != math.prod(size):
            raise ValueError("pixels")
    except (OSError, LookupError, TypeError, ValueError, RuntimeError):
        warn(f"{folder} is not as it was written: the pictures are decoded anew")
        shutil.rmtree(folder)
        return None
    pixels, mapping = _map(folder / "pixels")
    if pixels.numel() > (memory := physical_memory()):
        warn(
            f"the pictures take {gigabytes(pixels.numel())}, the memory is {gigabytes(memory)}: every epoch reads them"
            " from the disk, which is slow. A smaller dataset.image_size avoids that"
        )
    return Images(pixels.view(size).permute(0, 3, 1, 2), labels, classes, mapping=mapping)


def _map(path: Path) -> tuple[torch.Tensor, mmap.mmap]:
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


def _refuse_too_large(data_dir: Path, count: int, shape: Shape, cache: Path) -> None:
    """Raise ConfigError if the disk of the cache has too little space for the pixels."""
    needed, free = count * math.prod(shape), shutil.disk_usage(cache).free
    if needed > free:
        raise ConfigError(
            f"data_dir={data_dir}: {count} pictures at {'×'.join(map(str, shape))} need {gigabytes(needed)} in {cache},"
            f" which has {gigabytes(free)} free. Use a smaller dataset.image_size, fewer pictures, or another disk:"
            " XDG_CACHE_HOME"
        )


def _classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted. Raises ConfigError unless there are two or more."""
    if not folder.is_dir():
        raise ConfigError(f"data_dir={folder.parent}: must hold train/<class>/ with pictures; {folder} does not exist")
    entries = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."]
    for entry in entries:
        _refuse_outside(entry, folder.parent)
        if reason := undecoded(entry.name):
            raise ConfigError(f"{folder}/{reason}")
        if not entry.name.isprintable():
            raise ConfigError(
                f"{entry}: the name of a class must be printable, {entry.name!r} is not. Rename the folder"
            )
    classes = tuple(sorted(entry.name for entry in entries))
    if len(classes) < 2:
        raise ConfigError(f"{folder}: must hold a folder for each of at least two classes, it holds {len(classes)}")
    return classes


def _refuse_outside(path: Path, data_dir: Path) -> None:
    """Raise ConfigError for a link out of data_dir: the author of the folder would choose which files are read."""
    if not realpath(path).is_relative_to(realpath(data_dir)):
        raise ConfigError(f"{path} is a link to {realpath(path)}, outside data_dir={data_dir}: put the pictures there")


class _File(NamedTuple):
    path: str
    label: int
    stamp: str  # path, size and modification time, known without opening the file


def _files(folder: Path, classes: tuple[str, ...]) -> list[_File]:
    """Return the pictures of all classes, sorted by class and name. Raises ConfigError for a class without any."""
    files: list[_File] = []
    for label, name in enumerate(classes):
        class_folder = (folder / name).absolute()
        _refuse_outside(class_folder, folder.parent)
        entries = sorted(os.scandir(class_folder), key=lambda entry: entry.name) if class_folder.is_dir() else []
        pictures = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(SUFFIXES)]
        if not pictures:
            raise ConfigError(f"{folder / name}: holds no picture ({', '.join(SUFFIXES)})")
        for entry in pictures:
            if entry.is_symlink():
                _refuse_outside(Path(entry.path), folder.parent)
            state = entry.stat()
            files.append(_File(entry.path, label, f"{entry.path} {state.st_size} {state.st_mtime_ns}"))
    return files


def _content_stamp(path: str) -> str:
    """Return class, name and hash of a picture, or its size if it is too large to be read."""
    *_, name, file = Path(path).parts
    with Path(path).open("rb") as picture:
        size = os.fstat(picture.fileno()).st_size
        return f"{name}/{file} {size if size > MAX_BYTES else sha256_of(picture)}"


def _sha256(lines: Iterable[str]) -> str:
    """Return the SHA-256 of all lines. A zero byte separates them, because no file name can contain it."""
    return hashlib.sha256("\0".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _decode_all(files: list[_File], classes: tuple[str, ...], shape: Shape, folder: Path, skip: bool) -> None:
    """Write `pixels`, `labels` and `sha256.json` into a folder that appears when all are complete."""
    content = hashlib.sha256()
    labels: list[int] = []
    refused: list[str] = []
    _remove_old(folder.parent)
    # A random name: processes in different containers may have the same number.
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.{WRITING}")
    temporary.mkdir()
    try:
        with replacing(temporary / "pixels") as pixels:
            for file in progress(files, f"Decoding {len(files)} pictures, once"):
                try:
                    decoded = decode(file.path, shape)
                except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
                    if not skip:
                        raise RunError(
                            f"{decode_error(file.path, error)}. Remove it, or leave such pictures out:"
                            " dataset.on_corrupt_image=skip"
                        ) from None
                    refused.append(file.path)
                else:
                    pixels.write(decoded)
                    content.update(decoded)
                    labels.append(file.label)
        _report_corrupt(refused, labels, len(files), classes)
        numbers = torch.tensor(labels).numpy().tobytes()
        with replacing(temporary / "labels") as index:
            index.write(numbers)
        checksums = {"pixels": content.hexdigest(), "labels": hashlib.sha256(numbers).hexdigest()}
        write_text(temporary / "sha256.json", json.dumps(checksums))
        with contextlib.suppress(OSError):  # another process was first, with the same content
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_old(cache: Path) -> None:
    """Remove folders of killed processes that are older than a week; each may be as large as the data."""
    for left in cache.glob(f".*.{WRITING}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > OLD_SECONDS:
                shutil.rmtree(left)


def _report_corrupt(refused: list[str], labels: list[int], count: int, classes: tuple[str, ...]) -> None:
    """Warn of pictures that could not be decoded. Raises RunError if a class has no others."""
    if refused:
        names = ", ".join(refused[:3]) + (", …" if len(refused) > 3 else "")
        warn(f"{len(refused)} of {count} pictures cannot be decoded and are left out: {names}")
    present = set(labels)
    empty = [name for index, name in enumerate(classes) if index not in present]
    if empty:
        raise RunError(f"none of the pictures of class {empty[0]} can be decoded")
