"""Networks for images of any channel count and size, with slots for activation, normalization and dropout.

Each takes `shape` (C, H, W) and the number of classes, and returns a module from images to logits [N, classes].
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from trainer.errors import ConfigError
from trainer.kinds import Count
from trainer.techniques.activation import Activation


@dataclass(frozen=True)
class Slots:
    """What the run plugs into every layer."""

    activation: Activation
    normalization: Callable[[tuple[int, ...]], nn.Module | None]
    dropout: float


class InputScaling(nn.Module):
    """(x − mean) / std a channel, with the training split's statistics; takes uint8 0–255 or float 0–1.

    Part of the network, so that a checkpoint alone is enough to classify a picture.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.is_floating_point():
            return (images - self.mean) / self.std
        return (images - 255 * self.mean) / (255 * self.std)


def lecture_cnn(
    shape: tuple[int, int, int],
    classes: int,
    slots: Slots,
    *,
    channels: tuple[Count, Count] = (6, 16),
    hidden: Count = 128,
) -> nn.Module:
    """Twice convolution 5×5, pool 2, normalization, activation; then two linear layers, dropout before each.

    55 490 parameters for 3×32×32 and 10 classes. Raises ConfigError for images under 16×16.
    """
    inputs, height, width = shape
    if min(height, width) < 16:
        raise ConfigError(f"model=lecture_cnn needs images of at least 16×16 pixels, these have {height}×{width}")
    layers: list[nn.Module] = []
    for outputs in channels:
        height, width = (height - 4) // 2, (width - 4) // 2
        wide = outputs * slots.activation.pieces
        layers += [nn.Conv2d(inputs, wide, 5), nn.MaxPool2d(2), *_normalized((wide, height, width), slots)]
        inputs = outputs
    features = inputs * height * width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        *_dropout(slots),
        *_hidden(features, hidden, slots),
        *_dropout(slots),
        nn.Linear(hidden, classes),
    )


def mlp(
    shape: tuple[int, int, int], classes: int, slots: Slots, *, hidden: tuple[Count, ...] = (256, 128)
) -> nn.Module:
    """Linear layers of these widths, each normalized, activated and followed by dropout."""
    inputs, layers = shape[0] * shape[1] * shape[2], list[nn.Module]()
    for outputs in hidden:
        layers += [*_hidden(inputs, outputs, slots), *_dropout(slots)]
        inputs = outputs
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(inputs, classes))


def _hidden(inputs: int, outputs: int, slots: Slots) -> list[nn.Module]:
    wide = outputs * slots.activation.pieces
    return [nn.Linear(inputs, wide), *_normalized((wide,), slots)]


def _normalized(shape: tuple[int, ...], slots: Slots) -> list[nn.Module]:
    normalization = slots.normalization(shape)
    return [*([normalization] if normalization else []), slots.activation.build()]


def _dropout(slots: Slots) -> list[nn.Module]:
    return [nn.Dropout(slots.dropout)] if slots.dropout else []
