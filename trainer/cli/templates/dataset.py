"""Own data sets: (data_dir, part, *, options) -> Images."""

from pathlib import Path

import numpy as np

from trainer.config.types import Count
from trainer.data.images import Images, Part


def technique(
    data_dir: Path,
    part: Part,
    *,
    image_size: Count = 16,  # side in pixels
) -> Images:
    """Bright and dark images of noise, a stand-in for the files in data_dir."""
    # To do: read part "train" or "test" from data_dir, such as np.load(data_dir / f"{part}.npz").
    draw = np.random.default_rng(0 if part == "train" else 1)
    labels = np.arange(600) % 2
    noise = draw.integers(0, 156, (600, 1, image_size, image_size))
    pixels = (noise + 100 * labels[:, None, None, None]).astype(np.uint8)
    # pixels: [N, C, H, W]; bytes from 0 to 255, or floats of any range. labels: [N], places in the list of classes.
    return Images.of(pixels, labels, ("dark", "bright"))
