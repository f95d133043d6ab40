"""The pictures in a column of a table: their kind and size, which must be one for all, then their pixels."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.data.array_files import refuse_larger_than_memory
from trainer.data.decode import FORMATS, decode, decode_error
from trainer.data.values import pixels_of
from trainer.errors import ConfigError, RunError
from trainer.runtime.console import progress

GREY = ("1", "L", "LA", "La", "I")  # Pillow's modes of one channel, and I;16 in its byte orders
DEEP = "I;16"
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values for a picture that lies on its side


class _Kind(NamedTuple):
    """The header of a picture: its size when it is upright, and whether it has colours or 16 bits."""

    height: int
    width: int
    grey: bool
    deep: bool


def decoded(column: Any, folder: Path, image_size: int | None, what: str) -> Tensor:
    """Return the pixels [N, C, H, W] of a column of encoded pictures: bytes, or float32 if all have 16 bits.

    With `image_size` they are resized and cropped to bytes, as those of an image folder. Raises ConfigError if they
    have several sizes without it, and RunError naming the row of one that cannot be decoded.
    """
    kinds = [_kind(content, what, row) for row, content in enumerate(_contents(column, folder, what))]
    channels = 1 if all(kind.grey for kind in kinds) else 3
    height, width = (image_size, image_size) if image_size else kinds[0][:2]
    if not image_size:
        for row, kind in enumerate(kinds):
            if (kind.height, kind.width) != (height, width):
                raise ConfigError(
                    f"{what}: pictures of several sizes, {height}×{width} and in row {row} {kind.height}×{kind.width}:"
                    f" dataset.image_size={min(height, width)} brings them to one"
                )
    deep = not image_size and all(kind.deep for kind in kinds)
    shape = (len(kinds), height, width, channels)
    refuse_larger_than_memory(shape, np.dtype(np.uint16 if deep else np.uint8), what)
    pixels = np.empty(shape, np.uint16 if deep else np.uint8)
    rows = progress(range(len(kinds)), f"Decoding {len(kinds)} pictures")
    for row, content in zip(rows, _contents(column, folder, what), strict=True):
        try:
            values = _deep(content) if deep else np.frombuffer(_eight_bit(content, (channels, height, width)), np.uint8)
        except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
            raise RunError(decode_error(f"{what}, row {row}", error)) from None
        pixels[row] = values.reshape(shape[1:])
    tensor = pixels_of(pixels, what) if deep else torch.from_numpy(pixels)
    return tensor.permute(0, 3, 1, 2)


def _contents(column: Any, folder: Path, what: str) -> Iterator[bytes]:
    """Yield the bytes of each picture: those in the table, or in a file that it names below the folder."""
    for row, value in enumerate(scalar.as_py() for scalar in column):
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if content is None and isinstance(path, str):
            if Path(path).is_absolute() or not (folder / path).resolve().is_relative_to(folder.resolve()):
                raise ConfigError(f"{what}, row {row}: the picture {path} lies outside {folder}: put it into the table")
            content = (folder / path).read_bytes()
        if not isinstance(content, bytes):
            raise RunError(f"{what}, row {row}: there is no picture")
        yield content


def _kind(content: bytes, what: str, row: int) -> _Kind:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            width, height = picture.size
            if picture.getexif().get(ORIENTATION) in TURNED:
                width, height = height, width
            deep = picture.mode.startswith(DEEP)
            return _Kind(height, width, deep or picture.mode in GREY, deep)
    except Exception as error:
        raise RunError(decode_error(f"{what}, row {row}", error)) from None


def _deep(content: bytes) -> np.ndarray:
    """Return the pixels [H, W] of a picture of 16 bits, as they are."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        return np.asarray(ImageOps.exif_transpose(picture)).astype(np.uint16)


def _eight_bit(content: bytes, shape: tuple[int, int, int]) -> bytes:
    return decode(io.BytesIO(content), shape).pixels
