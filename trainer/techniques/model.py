"""Networks for images of any channel count and size, with slots for activation, normalization and dropout.

Each function takes `shape` (C, H, W) and the names of the classes, and returns a module from images to logits [N, K].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.config.types import Count, Members, Positive
from trainer.errors import ConfigError
from trainer.techniques.layers import (
    Ensemble,
    HardSharing,
    PatchWhitening,
    Residual,
    ResidualBlock,
    Scaled,
    Slots,
    SoftSharing,
    normalized,
)


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


def resnet9(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    width: Count = 64,
    whitening: bool = True,
) -> nn.Module:
    """ResNet-9, which learns in few epochs: five 3×3 convolutions in a row, two residual pairs, three poolings by 2.

    It has about 6.6 million parameters for 3×32×32 and is meant to be used with normalization=batch. With `whitening`
    the first convolution is a fixed one, computed from the training images, and a learned 1×1. Page 2018 and 2019
    (cifar10-fast). Raises ConfigError for images under 8×8.
    """
    inputs, *size = shape
    if min(size) < 8:
        raise ConfigError(f"model=resnet9 needs images of at least 8×8 pixels, these have {size[0]}×{size[1]}")
    stem = [PatchWhitening(inputs)] if whitening else []
    layers = [*stem, *_convolution(9 * inputs if whitening else inputs, width, size, slots, 1 if whitening else 3)]
    inputs = width
    for outputs, residual in ((2 * width, True), (4 * width, False), (8 * width, True)):
        size = [length // 2 for length in size]
        layers += _convolution(inputs, outputs, size, slots, pooling=True)
        if residual:
            layers.append(Residual(*(part for _ in range(2) for part in _convolution(outputs, outputs, size, slots))))
        inputs = outputs
    # Not AdaptiveMaxPool2d, whose gradient has no deterministic form on a GPU.
    layers += [nn.MaxPool2d((size[0], size[1])), nn.Flatten(), *_dropout(slots)]
    # Logits an eighth as large, as in cifar10-fast: at its high learning rates the softmax would saturate.
    return nn.Sequential(*layers, nn.Linear(inputs, len(classes), bias=False), Scaled(1 / 8))


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


def _convolution(
    inputs: int, outputs: int, size: list[int], slots: Slots, kernel: int = 3, pooling: bool = False
) -> list[nn.Module]:
    """Return a convolution that keeps the size, pooling by 2 to `size` on request, normalization and activation."""
    wide = outputs * slots.activation.pieces
    layers: list[nn.Module] = [nn.Conv2d(inputs, wide, kernel, padding=kernel // 2, bias=False)]
    layers += [nn.MaxPool2d(2)] if pooling else []
    return [*layers, *normalized((wide, *size), slots), slots.activation.build()]


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
