"""The smallest images that each network takes, known before its data are read. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from trainer.errors import ConfigError


def smallest_side(model: str, options: Mapping[str, Any]) -> int:
    """Return the least height and width in pixels of the images of a model, 1 for one that takes any."""
    if model in ("lecture_cnn", "hard_sharing", "soft_sharing", "ensemble"):
        # Backwards: pooling by 2 leaves one of two places, a convolution without padding k − 1 fewer.
        side = 1
        for _ in options["channels"]:
            side = 2 * side + options["kernel_size"] - 1
        return side
    # Poolings by 2 in a row: three in resnet9, five in vgg; a 3×3 convolution without padding in note_000_cnn.
    return {"resnet9": 8, "vgg": 32, "note_000_cnn": 3}.get(model, 1)


def refuse_small(model: str, shape: tuple[int, int, int], **options: Any) -> None:
    """Raise ConfigError if images of `shape` (C, H, W) are too small for a model."""
    least, (_, height, width) = smallest_side(model, options), shape
    if min(height, width) < least:
        raise ConfigError(f"model={model} needs images of at least {least}×{least} pixels, these have {height}×{width}")


def refuse_uneven(model: str, patch_size: int, height: int, width: int) -> None:
    """Raise ConfigError if images do not consist of whole patches."""
    if height % patch_size or width % patch_size:
        raise ConfigError(
            f"model.patch_size={patch_size} must divide the images of model={model}, which have {height}×{width} pixels"
        )
