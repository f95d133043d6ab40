"""Own models: (shape, classes, slots, *, options) -> torch.nn.Module from images to logits [N, K]."""

from torch import nn

from trainer.config.types import Count
from trainer.techniques.layers import Slots, normalized


def technique(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    width: Count = 16,  # channels of the convolution
) -> nn.Module:
    """One convolution, the mean of each channel, and a linear layer."""
    channels, height, row = shape
    # To do: your layers. What is taken from slots can be set and varied in a run: activation, normalization, dropout.
    wide = width * slots.activation.pieces  # maxout returns one channel of several
    return nn.Sequential(
        nn.Conv2d(channels, wide, 3, padding=1),
        *normalized((wide, height, row), slots),
        slots.activation.build(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(slots.dropout),
        nn.Linear(width, len(classes)),
    )
