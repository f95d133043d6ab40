"""Augmentations of one's own: (images [N, C, H, W], labels, number of classes, generator) → the same.

Images are bytes 0–255 or floats 0–1. Every draw comes from `generator`, so that a run that is stopped continues with
the same bits, and each image draws for itself.
"""

import torch
from torch import Generator, Tensor

from trainer.config.types import Count, OpenFraction


def grid_mask(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    period: Count = 8,
    covered: OpenFraction = 0.5,
) -> tuple[Tensor, Tensor]:
    """GridMask: black squares in a grid, moved at random, whose side is this share of the period. Chen et al. 2020."""
    count, _, height, width = images.shape
    down, across = torch.randint(period, (2, count, 1), generator=generator, device=images.device)
    rows, columns = (
        (torch.arange(length, device=images.device) + shift) % period < covered * period
        for length, shift in ((height, down), (width, across))
    )
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :]), labels
