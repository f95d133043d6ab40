"""A person's own pictures, `<data_dir>/train/<class>/*`: decoded once, then read from a cache.

The cache is keyed by content: the SHA-256 of every picture's class, name and bytes and of the options. So that
the next run need not read every file for that, a listing of names, sizes and modification times remembers the key.
"""

import hashlib
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint import replacing, write_text
from trainer.console import progress, warn
from trainer.data.images import Images, Part
from trainer.errors import ConfigError, RunError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
FORMAT = "1"  # of the cache; raise it when what is stored changes


def read(data_dir: Path, part: Part, image_size: int, grayscale: bool, broken: str) -> Images:
    """Decodes one part, or takes it from the cache.

    Raises ConfigError where there is no such folder, RunError naming a picture that cannot be decoded.
    """
    classes = _classes(data_dir / "train")
    files = _files(data_dir / part, classes)
    options = (FORMAT, str(image_size), str(grayscale), broken, *classes)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablation-trainer" / "images"
    cache.mkdir(parents=True, exist_ok=True)
    listing = cache / f"{_sha256([*options, *map(_stamp, files)])}.listing"
    if listing.is_file() and (stored := cache / listing.read_text()).is_file():
        return Images(**torch.load(stored, weights_only=True), classes=classes)
    contents = (_content_stamp(path) for path in progress(files, f"Reading {data_dir / part}"))
    stored = cache / f"{_sha256([*options, *contents])}.pt"
    if not stored.is_file():
        pixels, labels = _decode_all(files, classes, image_size, grayscale, skip=broken == "skip")
        with replacing(stored) as file:
            torch.save({"pixels": pixels, "labels": labels}, file)
    write_text(listing, stored.name)
    return Images(**torch.load(stored, weights_only=True), classes=classes)


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise ConfigError(f"data_dir={folder.parent}: must hold train/<class>/ with pictures; {folder} does not exist")
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(classes) < 2:
        raise ConfigError(f"{folder}: must hold a folder for each of at least two classes, it holds {len(classes)}")
    return classes


def _files(folder: Path, classes: tuple[str, ...]) -> list[Path]:
    files: list[Path] = []
    for name in classes:
        entries = sorted(os.scandir(folder / name), key=lambda entry: entry.name) if (folder / name).is_dir() else []
        pictures = [
            Path(entry.path) for entry in entries if entry.is_file() and Path(entry.name).suffix.lower() in SUFFIXES
        ]
        if not pictures:
            raise ConfigError(f"{folder / name}: holds no picture ({', '.join(sorted(SUFFIXES))})")
        files += pictures
    return files


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}"


def _content_stamp(path: Path) -> str:
    return f"{path.parent.name}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _decode_all(
    files: list[Path], classes: tuple[str, ...], size: int, grayscale: bool, skip: bool
) -> tuple[Tensor, Tensor]:
    pixels = torch.empty(len(files), 1 if grayscale else 3, size, size, dtype=torch.uint8)
    labels: list[int] = []
    refused: list[Path] = []
    for path in progress(files, f"Decoding {len(files)} pictures, once"):
        try:
            pixels[len(labels)] = _decode(path, size, grayscale)
            labels.append(classes.index(path.parent.name))
        except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
            if not skip:
                raise RunError(
                    f"{path} cannot be decoded ({error}). Remove it, or leave such pictures out: dataset.broken=skip"
                ) from None
            refused.append(path)
    if refused:
        names = ", ".join(map(str, refused[:3])) + (", …" if len(refused) > 3 else "")
        warn(f"{len(refused)} of {len(files)} pictures cannot be decoded and are left out: {names}")
    present = set(labels)
    empty = [name for index, name in enumerate(classes) if index not in present]
    if empty:
        raise RunError(f"none of the pictures of class {empty[0]} can be decoded")
    return pixels[: len(labels)].clone(), torch.tensor(labels)


def _decode(path: Path, size: int, grayscale: bool) -> Tensor:
    """uint8 [C, size, size]: upright, the shorter side resized to `size`, the centre kept."""
    import numpy as np
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as picture:
            upright = _eight_bit(ImageOps.exif_transpose(picture)).convert("L" if grayscale else "RGB")
    if upright.size != (size, size):
        upright = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    array = torch.from_numpy(np.array(upright))
    return array.unsqueeze(0) if grayscale else array.permute(2, 0, 1)


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
