"""Networks for images of any channel count and size, with slots for activation, normalization and dropout.

Each function takes `shape` (C, H, W) and the names of the classes, and returns a module from images to logits [N, K].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.config.types import Count, Members, Positive
from trainer.errors import ConfigError
from trainer.techniques.layers import Ensemble, HardSharing, ResidualBlock, Slots, SoftSharing, normalized


def lecture_cnn(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, Count] = (6, 16),
    hidden: Count = 128,
) -> nn.Module:
    """Twice a 5×5 convolution, pooling by 2, normalization and activation; then two linear layers with dropout before.

    55 490 parameters for 3×32×32 and 10 classes. Raises ConfigError for images under 16×16.
    """
    return nn.Sequential(_lecture_encoder(shape, slots, channels, hidden), nn.Linear(hidden, len(classes)))


def mlp(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, hidden: tuple[Count, ...] = (256, 128)
) -> nn.Module:
    """Linear layers of these widths, each followed by normalization, activation and dropout."""
    inputs, layers = shape[0] * shape[1] * shape[2], list[nn.Module]()
    for outputs in hidden:
        layers += [*_hidden(inputs, outputs, slots), *_dropout(slots)]
        inputs = outputs
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(inputs, len(classes)))


def resnet18(shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, width: Count = 64) -> nn.Module:
    """ResNet-18 for small images: a 3×3 stem without pooling, four stages of two blocks, dropout before the last layer.

    It has about 11.2 million parameters for 3×32×32 and is meant to be used with normalization=batch. He et al. 2016.
    """
    inputs, *size = shape
    height, pieces = size[0], slots.activation.pieces
    stem = [nn.Conv2d(inputs, width * pieces, 3, 1, 1, bias=False), *normalized((width * pieces, *size), slots)]
    layers: list[nn.Module] = [*stem, slots.activation.build()]
    inputs, (height, across) = width, size
    for stage in range(4):
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(ResidualBlock(inputs, width * 2**stage, (height, across), stride, slots))
            # With padding 1 a 3×3 convolution of stride 2 halves the sides, rounded up.
            inputs, height, across = width * 2**stage, -(-height // stride), -(-across // stride)
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_dropout(slots), nn.Linear(inputs, len(classes))
    )


def hard_sharing(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, Count] = (6, 16),
    hidden: Count = 128,
    coarse_weight: Positive = 1.0,
) -> nn.Module:
    """The lecture's CNN with a second head for the coarse task, whose loss is added with `coarse_weight`."""
    encoder = _lecture_encoder(shape, slots, channels, hidden)
    return HardSharing(encoder, hidden, _coarse_of(classes), coarse_weight)


def soft_sharing(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, Count] = (6, 16),
    hidden: Count = 128,
    coarse_weight: Positive = 1.0,
    strength: Positive = 1e-3,
) -> nn.Module:
    """Two of the lecture's CNNs, one for each task, with a penalty on the distance of their parameters."""
    first, second = (_lecture_encoder(shape, slots, channels, hidden) for _ in range(2))
    return SoftSharing((first, second), hidden, _coarse_of(classes), coarse_weight, strength)


def ensemble(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    members: Members = 3,
    channels: tuple[Count, Count] = (6, 16),
    hidden: Count = 128,
) -> nn.Module:
    """Several of the lecture's CNNs with different initial weights; the mean of their probabilities is evaluated."""
    return Ensemble([lecture_cnn(shape, classes, slots, channels=channels, hidden=hidden) for _ in range(members)])


def _lecture_encoder(shape: tuple[int, int, int], slots: Slots, channels: tuple[int, int], hidden: int) -> nn.Module:
    """The lecture's CNN without its last layer: images to features [N, hidden]."""
    inputs, height, width = shape
    if min(height, width) < 16:
        raise ConfigError(f"the lecture's CNN needs images of at least 16×16 pixels, these have {height}×{width}")
    layers: list[nn.Module] = []
    for outputs in channels:
        # A 5×5 convolution without padding takes 4 pixels off each side, pooling halves the rest.
        height, width = (height - 4) // 2, (width - 4) // 2
        wide = outputs * slots.activation.pieces
        layers += [nn.Conv2d(inputs, wide, 5), nn.MaxPool2d(2)]
        layers += [*normalized((wide, height, width), slots), slots.activation.build()]
        inputs = outputs
    features = inputs * height * width
    return nn.Sequential(*layers, nn.Flatten(), *_dropout(slots), *_hidden(features, hidden, slots), *_dropout(slots))


def _hidden(inputs: int, outputs: int, slots: Slots) -> list[nn.Module]:
    """Return a linear layer with its normalization and activation."""
    wide = outputs * slots.activation.pieces
    return [nn.Linear(inputs, wide), *normalized((wide,), slots), slots.activation.build()]


def _dropout(slots: Slots) -> list[nn.Module]:
    return [nn.Dropout(slots.dropout)] if slots.dropout else []


VEHICLES = frozenset({"airplane", "automobile", "ship", "truck"})
ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})


def _coarse_of(classes: tuple[str, ...]) -> Tensor:
    """Return [K, 2], one where a class belongs to the coarse one: vehicle or animal (CIFAR-10), even or odd (digits).

    Raises ConfigError for other classes.
    """
    if set(classes) <= VEHICLES | ANIMALS:
        coarse = [name in ANIMALS for name in classes]
    elif all(name.isdecimal() for name in classes):
        coarse = [int(name) % 2 == 1 for name in classes]
    else:
        raise ConfigError(
            "multi-task models know a coarse task for CIFAR-10's classes and for digits, not for"
            f" {', '.join(classes[:3])}, …: choose another model or dataset"
        )
    return F.one_hot(torch.tensor(coarse).long(), 2).float()
