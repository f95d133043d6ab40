"""Decoding of an untrusted picture file into bytes of a fixed size."""

import warnings
from pathlib import Path
from typing import Any

from trainer.data.images import Shape

# By content, not by name. Pillow has many more formats, one of which (EPS) starts a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_BYTES = 300_000_000  # of a file: 89 million pixels, Pillow's limit, take 268 million without compression


def decode(path: str, shape: Shape) -> bytes:
    """Return the bytes [H, W, C] of a picture, resized by its shorter side and cropped at the centre.

    It is turned upright as its EXIF data say; of several frames the first is taken. Raises any of Pillow's errors if it
    cannot be decoded or has more than 89 million pixels.
    """
    if (size := Path(path).stat().st_size) > MAX_BYTES:
        raise ValueError(f"it has {size} bytes, where at most {MAX_BYTES} are read")
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        # Pillow only warns from 89 million pixels on and raises from twice as many.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as picture:
            upright = _eight_bit(ImageOps.exif_transpose(picture)).convert("L" if shape[0] == 1 else "RGB")
    if upright.size != (shape[2], shape[1]):
        upright = ImageOps.fit(upright, (shape[2], shape[1]), Image.Resampling.BILINEAR)
    return bytes(upright.tobytes())


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


def _eight_bit(picture: Any) -> Any:
    """Return the picture with 8 bits per channel, on black where it is transparent."""
    # Pillow itself clips deeper pictures to white, and shows the hidden colours of transparent pixels.
    from PIL import Image

    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")  # 65535 to 255
    if picture.mode == "F":
        raise ValueError("floating-point pictures have no known range")
    if picture.has_transparency_data:
        transparent = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", transparent.size, (0, 0, 0, 255)), transparent)
    return picture
