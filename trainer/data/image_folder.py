"""The user's own pictures, decoded once and then memory-mapped from a cache.

The key of the cache is a SHA-256 of the options and of every picture's class, name and bytes. A listing, whose key is
made of names, sizes, times and numbers of the files (`stamp_of`), holds that key, so that the next run need not read
every picture.
"""

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trainer.data.decode import MAX_BYTES, decode, decode_error
from trainer.data.images import Images, Part, Shape
from trainer.data.picture_cache import (
    FORMAT,
    cache_errors,
    cache_folder,
    new_entry,
    new_file,
    read_cached,
    read_listing,
    refuse_too_large,
    write_index,
)
from trainer.data.picture_files import (
    Picture,
    class_names,
    pictures_in,
    recently_changed,
    stamp_of,
    validation_folder,
)
from trainer.errors import RunError
from trainer.runtime.console import progress, warn
from trainer.runtime.files import sha256_of, write_text
from trainer.runtime.text import counted

NAMES = 3  # files, or kinds of warnings, that are listed


def read(data_dir: Path, part: Part, shape: Shape, on_corrupt_image: str, validation: str) -> Images:
    """Return one part, from the cache or decoded.

    Raises ConfigError if there is no such folder or no space for its pixels, and RunError naming a picture that cannot
    be decoded.
    """
    classes = class_names(data_dir / "train")
    pictures, own_validation = pictures_in(data_dir, part, classes), list[Picture]()
    if part == "train" and (folder := validation_folder(data_dir, wanted=validation == "folder")):
        own_validation = pictures_in(data_dir, folder, classes, all_classes=False)
    return read_pictures(data_dir / part, pictures, own_validation, classes, shape, on_corrupt_image == "skip")


def read_pictures(
    place: Path,
    pictures: list[Picture],
    own_validation: list[Picture],
    classes: tuple[str, ...],
    shape: Shape,
    skip: bool,
) -> Images:
    """Return the pictures in a folder with those to validate on behind them, from the cache or decoded.

    `skip`: those that cannot be decoded are left out.
    """
    together, cache = [*pictures, *own_validation], cache_folder()
    options = (FORMAT, str(shape), "skip" if skip else "refuse", str(len(pictures)), *classes)
    with cache_errors(cache):
        listing = cache / f"{_sha256([*options, *(picture.stamp for picture in together)])}.listing"
        key = read_listing(listing)
        cached = read_cached(cache / key, shape, classes) if key else None
    if cached is None:
        settled = not recently_changed(together)
        contents = (_content_stamp(picture) for picture in progress(together, f"Reading {place}"))
        key = _sha256([*options, *contents])
        with cache_errors(cache):
            cached = read_cached(cache / key, shape, classes)  # the same pictures may have been moved or touched
            if cached is None:
                refuse_too_large(place.parent, len(together), shape, cache)
                _decode_all(pictures, own_validation, classes, shape, cache / key, skip)
                cached = read_cached(cache / key, shape, classes)
        if cached is None:
            raise RunError(f"{cache / key} is not as it was written: another program writes there. Remove it")
        if settled:
            with contextlib.suppress(RunError):  # a cache that cannot be written: they are read again next time
                write_text(listing, key)  # last: it names a cache that has been checked
    images, left_out = cached
    if left_out:
        names = _listed([str(place.parent / name) for name in left_out])
        warn(f"{len(left_out)} of {len(together)} pictures cannot be decoded and are left out: {names}")
    return images


def _content_stamp(picture: Picture) -> str:
    """Return name and hash of a picture, or its size if it is too large to be read."""
    try:
        with Path(picture.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return f"{picture.name} {size if size > MAX_BYTES else sha256_of(file)}"
    except OSError:  # decoding it will say why
        return f"{picture.name} cannot be read"


def _sha256(lines: Iterable[str]) -> str:
    """Return the SHA-256 of all lines. A zero byte separates them, because no file name can contain it."""
    return hashlib.sha256("\0".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass
class _Progress:
    """The result of decoding: labels, digest of the pixels, pictures left out, and pictures by Pillow's warnings."""

    labels: list[int] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)
    left_out: list[str] = field(default_factory=list)
    warnings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def _decode_all(
    pictures: list[Picture],
    own_validation: list[Picture],
    classes: tuple[str, ...],
    shape: Shape,
    folder: Path,
    skip: bool,
) -> None:
    """Write the pixels and labels of both lists into a folder that appears when all are complete."""
    together, done = [*pictures, *own_validation], _Progress()
    shown = iter(progress(together, f"Decoding {len(together)} pictures, once"))
    with new_entry(folder) as temporary:
        with new_file(temporary / "pixels") as file:
            for _ in pictures:
                _decode_one(next(shown), shape, file, done, skip)
            trained_on = len(done.labels)
            for picture in shown:
                _decode_one(picture, shape, file, done, skip)
        present = set(done.labels[:trained_on])
        if empty := [name for index, name in enumerate(classes) if index not in present]:
            raise RunError(f"none of the pictures of class {empty[0]} can be decoded")
        if own_validation and trained_on == len(done.labels):
            raise RunError(f"none of the pictures to validate on can be decoded, such as {own_validation[0].path}")
        _refuse_changed(together)
        write_index(temporary, done.digest.hexdigest(), done.labels, len(done.labels) - trained_on, done.left_out)
    for message, paths in list(done.warnings.items())[:NAMES]:
        warn(f"{counted(len(paths), 'picture', 'pictures')} may look different ({message}): {_listed(paths)}")


def _decode_one(picture: Picture, shape: Shape, file: IO[bytes], done: _Progress, skip: bool) -> None:
    try:
        pixels, warnings = decode(picture.path, shape)
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        if not skip:
            raise RunError(
                f"{decode_error(picture.path, error)}. Remove it, or leave such pictures out:"
                " dataset.on_corrupt_image=skip"
            ) from None
        done.left_out.append(picture.name)
        return
    file.write(pixels)
    done.digest.update(pixels)
    done.labels.append(picture.label)
    for message in warnings:
        done.warnings[message].append(picture.path)


def _refuse_changed(pictures: Sequence[Picture]) -> None:
    """Raise RunError if a picture was changed since it was listed: its pixels may not be of the hashed content."""
    for picture in pictures:
        try:
            stamp = stamp_of(picture.path, Path(picture.path).stat())
        except OSError:
            stamp = ""
        if stamp != picture.stamp:
            raise RunError(f"{picture.path} was changed while the pictures were read: start again when it is complete")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES]) + (", …" if len(names) > NAMES else "")
