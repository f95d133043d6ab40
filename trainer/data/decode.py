"""Decoding of an untrusted picture file into bytes of a fixed size."""

import io
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from trainer.data.images import Shape

# By content, not by name. Pillow has many more formats, one of which (EPS) starts a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"),
    ".webp",
)
BITS_PER_SAMPLE = 258  # the number of this tag in a TIFF
MAX_BYTES = 300_000_000  # of a file: 89 million pixels, Pillow's limit, take 268 million without compression


# Pillow logs an error before it raises one; without a handler Python would print it, without the file's name.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Decoded(NamedTuple):
    """The bytes [H, W, C] of a picture, and what Pillow warned of."""

    pixels: bytes
    warnings: tuple[str, ...]


def decode(source: str | io.BytesIO, shape: Shape) -> Decoded:
    """Return a picture, of a file or of its content, resized by its shorter side and cropped at the centre.

    It is turned upright as its EXIF data say; of several frames the first is taken. Raises any of Pillow's errors if it
    cannot be decoded or has more than 89 million pixels, and ValueError if the range of its values is unknown.
    """
    size = Path(source).stat().st_size if isinstance(source, str) else len(source.getbuffer())
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes, where at most {MAX_BYTES} are read")
    from PIL import Image, ImageOps

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Pillow only warns from 89 million pixels on and raises from twice as many.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(source, formats=FORMATS) as picture:
            scale = _scale(picture)
            upright = _eight_bit(ImageOps.exif_transpose(picture), scale).convert("L" if shape[0] == 1 else "RGB")
    if upright.size != (shape[2], shape[1]):
        upright = ImageOps.fit(upright, (shape[2], shape[1]), Image.Resampling.BILINEAR)
    return Decoded(bytes(upright.tobytes()), tuple(" ".join(str(each.message).split()) for each in caught))


def decode_error(path: str, error: Exception) -> str:
    """Return one line for an error of `decode`, without Pillow's repeated path and its talk of an attack."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        reason = f"it is no picture of a known kind: {', '.join(FORMATS)}"
    elif isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        reason = f"it is larger than {Image.MAX_IMAGE_PIXELS} pixels"
    else:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{path} cannot be decoded ({reason})"


def _scale(picture: Any) -> float | None:
    """Return the factor that brings the values of a deep picture to 0 … 255, None for one of 8 bits per channel.

    Raises ValueError if their range is unknown. Formats without it hold numbers of any size: in a picture of 32-bit
    integers 255 may be white, or nearly black.
    """
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in ("PNG", "PPM")):
        kind = "floating-point" if picture.mode == "F" else "signed or 32-bit integer"
        raise ValueError(f"{kind} pictures have no known range of values: save it with 8 bits, or 16 without a sign")
    if not picture.mode.startswith("I"):
        return None
    twelve_bits = picture.format == "TIFF" and picture.tag_v2.get(BITS_PER_SAMPLE) == (12,)
    return 255 / 4095 if twelve_bits else 1 / 257  # 65535 to 255


def _eight_bit(picture: Any, scale: float | None) -> Any:
    """Return the picture with 8 bits per channel, on black where it is transparent."""
    # Pillow itself clips deeper pictures to white, and shows the hidden colours of transparent pixels.
    from PIL import Image

    if scale is not None:
        return picture.convert("I").point(lambda value: value * scale).convert("L")
    if picture.has_transparency_data:
        transparent = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", transparent.size, (0, 0, 0, 255)), transparent)
    return picture
