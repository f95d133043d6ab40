"""Own augmentations: (images, labels, classes, generator, *, options) -> (images, labels)."""

import torch
from torch import Generator, Tensor

from trainer.config.types import Probability


def technique(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    probability: Probability = 0.5,  # of an image to be changed
) -> tuple[Tensor, Tensor]:
    """Mirror upside down."""
    # images: [N, C, H, W], uint8 from 0 to 255 or floats from 0 to 1. labels: [N], or mixed ones [N, K].
    # A draw for each image, always from this generator.
    chosen = torch.rand(len(images), generator=generator, device=images.device) < probability
    changed = images.flip(2)  # To do: your change
    return torch.where(chosen.view(-1, 1, 1, 1), changed, images), labels
