"""A person's own pictures, `<data_dir>/train/<class>/*`: decoded once, then mapped from a cache.

The cache is keyed by content: the SHA-256 of every picture's class, name and bytes and of the options. So that
the next run need not read every file for that, a listing of names, sizes and modification times remembers the key.
The pixels are a plain file that is mapped, not read: several processes share it, and it may be larger than the memory.
"""

import contextlib
import hashlib
import math
import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trainer.console import progress, warn
from trainer.data.images import Images, Part
from trainer.data.resident import gigabytes
from trainer.data.suffixes import SUFFIXES
from trainer.errors import ConfigError, RunError
from trainer.files import replacing, write_text

Shape = tuple[int, int, int]  # (C, H, W)

FORMAT = "2"  # of the cache; raise it when what is stored changes


def read(data_dir: Path, part: Part, image_size: int, grayscale: bool, broken: str) -> Images:
    """Decodes one part, or takes it from the cache.

    Raises ConfigError where there is no such folder or no room for its pixels, RunError naming a picture that
    cannot be decoded.
    """
    classes = _classes(data_dir / "train")
    files = _files(data_dir / part, classes)
    shape = (1 if grayscale else 3, image_size, image_size)
    options = (FORMAT, str(image_size), str(grayscale), broken, *classes)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablation-trainer" / "images"
    cache.mkdir(parents=True, exist_ok=True)
    listing = cache / f"{_sha256([*options, *(file.stamp for file in files)])}.listing"
    if listing.is_file() and (cache / (key := listing.read_text())).is_dir():
        return _mapped(cache / key, shape, classes)
    contents = (_content_stamp(file.path) for file in progress(files, f"Reading {data_dir / part}"))
    key = _sha256([*options, *contents])
    if not (cache / key).is_dir():
        _refuse_too_large(data_dir, len(files), shape, cache)
        _decode_all(files, classes, shape, cache / key, skip=broken == "skip")
    write_text(listing, key)
    return _mapped(cache / key, shape, classes)


def _mapped(folder: Path, shape: Shape, classes: tuple[str, ...]) -> Images:
    """The pixels lie as [N, H, W, C]: a view of them as [N, C, H, W] is what is called channels last."""
    labels = torch.load(folder / "labels.pt", weights_only=True)
    channels, height, width = shape
    size = (len(labels), height, width, channels)
    pixels = torch.from_file(str(folder / "pixels"), size=math.prod(size), dtype=torch.uint8)
    if pixels.numel() > _memory():
        warn(
            f"the pictures take {gigabytes(pixels.numel())}, the memory is {gigabytes(_memory())}: every epoch reads"
            " them from the disk, which is slow. A smaller dataset.image_size avoids that"
        )
    return Images(pixels.view(size).permute(0, 3, 1, 2), labels, classes)


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _refuse_too_large(data_dir: Path, count: int, shape: Shape, cache: Path) -> None:
    needed, free = count * math.prod(shape), shutil.disk_usage(cache).free
    if needed > free:
        raise ConfigError(
            f"data_dir={data_dir}: {count} pictures at {'×'.join(map(str, shape))} need {gigabytes(needed)} in {cache},"
            f" which has {gigabytes(free)} free. Use a smaller dataset.image_size, fewer pictures, or another disk:"
            " XDG_CACHE_HOME"
        )


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise ConfigError(f"data_dir={folder.parent}: must hold train/<class>/ with pictures; {folder} does not exist")
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(classes) < 2:
        raise ConfigError(f"{folder}: must hold a folder for each of at least two classes, it holds {len(classes)}")
    return classes


class _File(NamedTuple):
    path: str
    label: int
    stamp: str  # where it is, how large and how old: without opening it


def _files(folder: Path, classes: tuple[str, ...]) -> list[_File]:
    files: list[_File] = []
    for label, name in enumerate(classes):
        place = (folder / name).absolute()
        entries = sorted(os.scandir(place), key=lambda entry: entry.name) if place.is_dir() else []
        pictures = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(SUFFIXES)]
        if not pictures:
            raise ConfigError(f"{folder / name}: holds no picture ({', '.join(SUFFIXES)})")
        for entry in pictures:
            stat = entry.stat()
            files.append(_File(entry.path, label, f"{entry.path} {stat.st_size} {stat.st_mtime_ns}"))
    return files


def _content_stamp(path: str) -> str:
    *_, name, file = Path(path).parts
    return f"{name}/{file} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _decode_all(files: list[_File], classes: tuple[str, ...], shape: Shape, folder: Path, skip: bool) -> None:
    """Writes `pixels` and `labels.pt` into a folder that appears when both are complete."""
    labels: list[int] = []
    refused: list[str] = []
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.writing")
    aside.mkdir()
    try:
        with replacing(aside / "pixels") as pixels:
            for file in progress(files, f"Decoding {len(files)} pictures, once"):
                try:
                    decoded = decode(file.path, shape)
                except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
                    if not skip:
                        raise RunError(
                            f"{file.path} cannot be decoded ({error}). Remove it, or leave such pictures out:"
                            " dataset.broken=skip"
                        ) from None
                    refused.append(file.path)
                else:
                    pixels.write(decoded)
                    labels.append(file.label)
        _report(refused, labels, len(files), classes)
        with replacing(aside / "labels.pt") as stored:
            torch.save(torch.tensor(labels), stored)
        with contextlib.suppress(OSError):  # another process was first: the content is the same
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _report(refused: list[str], labels: list[int], count: int, classes: tuple[str, ...]) -> None:
    if refused:
        names = ", ".join(refused[:3]) + (", …" if len(refused) > 3 else "")
        warn(f"{len(refused)} of {count} pictures cannot be decoded and are left out: {names}")
    present = set(labels)
    empty = [name for index, name in enumerate(classes) if index not in present]
    if empty:
        raise RunError(f"none of the pictures of class {empty[0]} can be decoded")


def decode(path: str, shape: Shape) -> bytes:
    """[H, W, C] as bytes: upright, the shorter side resized, the centre kept. `shape` is (C, H, W).

    Raises whatever Pillow does on a picture that cannot be decoded.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as picture:
            upright = _eight_bit(ImageOps.exif_transpose(picture)).convert("L" if shape[0] == 1 else "RGB")
    if upright.size != (shape[2], shape[1]):
        upright = ImageOps.fit(upright, (shape[2], shape[1]), Image.Resampling.BILINEAR)
    return bytes(upright.tobytes())


def _eight_bit(picture: Any) -> Any:
    """Pillow clips deeper pictures to white and uncovers hidden colours: scale 16 bits down, lay alpha on black."""
    from PIL import Image

    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.mode == "F":
        raise ValueError("floating-point pictures have no known range")
    if picture.has_transparency_data:
        covered = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", covered.size, (0, 0, 0, 255)), covered)
    return picture
