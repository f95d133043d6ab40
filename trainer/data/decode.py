"""One picture, by whomever it was made: bytes of a known size, or an error that names what is wrong with it."""

import warnings
from pathlib import Path
from typing import Any

from trainer.data.images import Shape

# What is in the file counts, not its name. Pillow knows many more kinds, one of which starts a program (EPS).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MOST_BYTES = 300_000_000  # of a file: the most pixels that Pillow accepts take 268 million, if nothing is compressed


def decode(path: str, shape: Shape) -> bytes:
    """[H, W, C] as bytes: upright, the shorter side resized, the centre kept; of several frames the first.

    Raises whatever Pillow does on a picture that cannot be decoded, or is larger than 89 million pixels.
    """
    if (size := Path(path).stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size} bytes, where at most {MOST_BYTES} are read")
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as picture:
            upright = _eight_bit(ImageOps.exif_transpose(picture)).convert("L" if shape[0] == 1 else "RGB")
    if upright.size != (shape[2], shape[1]):
        upright = ImageOps.fit(upright, (shape[2], shape[1]), Image.Resampling.BILINEAR)
    return bytes(upright.tobytes())


def told(path: str, error: Exception) -> str:
    """One line. Pillow says the path once more, and of a picture that is too large what it calls an attack."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        reason = f"it is no picture of a known kind: {', '.join(FORMATS)}"
    elif isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        reason = f"it is larger than {Image.MAX_IMAGE_PIXELS} pixels"
    else:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{path} cannot be decoded ({reason})"


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


SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
