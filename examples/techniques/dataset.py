"""Data sets of one's own: (data_dir, part "train" or "test") → `Images`. The validation images are split off later."""

from pathlib import Path

import numpy as np

from trainer.config.types import Count
from trainer.data.images import Images, Part


def shapes(data_dir: Path, part: Part, *, count: Count = 1500, image_size: Count = 16) -> Images:
    """Discs, squares and crosses of random place and size in noise, made by NumPy: arrays of one's own, as floats."""
    draw = np.random.default_rng({"train": 0, "test": 1}[part])
    labels = np.arange(count) % 3
    x, y = (draw.uniform(0.3, 0.7, (count, 1, 1)) * image_size for _ in range(2))
    radius = draw.uniform(0.15, 0.3, (count, 1, 1)) * image_size
    across, down = np.abs(np.arange(image_size)[None, None] - x), np.abs(np.arange(image_size)[None, :, None] - y)
    disc, square = across**2 + down**2 <= radius**2, np.maximum(across, down) <= radius * 0.9
    cross = square & (np.minimum(across, down) <= radius * 0.3)
    pixels = np.choose(labels[:, None, None], [disc, square, cross]) + draw.normal(
        0, 0.7, (count, image_size, image_size)
    )
    return Images.of(pixels.astype(np.float32), labels, ("disc", "square", "cross"))
