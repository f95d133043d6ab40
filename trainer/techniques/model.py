"""Networks for images of any channel count and size, with slots for activation, normalization and dropout.

Each takes `shape` (C, H, W) and the names of the classes, and returns a module from images to logits [N, classes].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.errors import ConfigError
from trainer.kinds import Count, Positive
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


class MultiTask(nn.Module):
    """A network that learns a coarse task beside the one it is judged by: what it adds to the loss."""

    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        """For the images of the last forward pass in training mode; `labels` [N], or [N, K] once mixed."""
        raise NotImplementedError


class HardSharing(MultiTask):
    """One encoder, two heads: the encoder gets both gradients."""

    coarse_of: Tensor

    def __init__(self, encoder: nn.Module, features: int, coarse_of: Tensor, coarse_weight: float) -> None:
        super().__init__()
        self.encoder, self.coarse_weight = encoder, coarse_weight
        self.fine = nn.Linear(features, len(coarse_of))
        self.coarse = nn.Linear(features, coarse_of.shape[1])
        self.register_buffer("coarse_of", coarse_of)
        self.coarse_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        self.coarse_logits = self.coarse(features) if self.training else None
        logits: Tensor = self.fine(features)
        return logits

    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        assert self.coarse_logits is not None
        return self.coarse_weight * _coarse_loss(self.coarse_logits, labels, self.coarse_of)


class SoftSharing(MultiTask):
    """Two networks of the same shape, one a task, held together by strength·Σ(θ₁ − θ₂)² over their encoders."""

    coarse_of: Tensor

    def __init__(
        self, encoders: tuple[nn.Module, nn.Module], features: int, coarse_of: Tensor, weight: float, strength: float
    ) -> None:
        super().__init__()
        self.encoder, self.coarse_encoder = encoders
        self.coarse_weight, self.strength = weight, strength
        self.fine = nn.Linear(features, len(coarse_of))
        self.coarse = nn.Linear(features, coarse_of.shape[1])
        self.register_buffer("coarse_of", coarse_of)
        self.coarse_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.coarse_logits = self.coarse(self.coarse_encoder(images)) if self.training else None
        logits: Tensor = self.fine(self.encoder(images))
        return logits

    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        assert self.coarse_logits is not None
        pairs = zip(self.encoder.parameters(), self.coarse_encoder.parameters(), strict=True)
        distance = torch.stack([(one - other).square().sum() for one, other in pairs]).sum()
        return self.coarse_weight * _coarse_loss(self.coarse_logits, labels, self.coarse_of) + self.strength * distance


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut around them; activation after the sum. He et al. 2016."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], stride: int, slots: Slots) -> None:
        super().__init__()
        wide = outputs * slots.activation.pieces
        shape = (wide, *(-(-length // stride) for length in size))
        self.first = nn.Sequential(
            nn.Conv2d(inputs, wide, 3, stride, 1, bias=False), *_normalized(shape, slots), slots.activation.build()
        )
        self.second = nn.Sequential(nn.Conv2d(outputs, wide, 3, 1, 1, bias=False), *_normalized(shape, slots))
        same = inputs == wide and stride == 1
        projection = [nn.Conv2d(inputs, wide, 1, stride, bias=False), *_normalized(shape, slots)]
        self.shortcut = nn.Identity() if same else nn.Sequential(*projection)
        self.activation = slots.activation.build()

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.activation(self.second(self.first(features)) + self.shortcut(features))
        return result


def lecture_cnn(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, Count] = (6, 16),
    hidden: Count = 128,
) -> nn.Module:
    """Twice convolution 5×5, pool 2, normalization, activation; then two linear layers, dropout before each.

    55 490 parameters for 3×32×32 and 10 classes. Raises ConfigError for images under 16×16.
    """
    return nn.Sequential(_lecture_encoder(shape, slots, channels, hidden), nn.Linear(hidden, len(classes)))


def mlp(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, hidden: tuple[Count, ...] = (256, 128)
) -> nn.Module:
    """Linear layers of these widths, each normalized, activated and followed by dropout."""
    inputs, layers = shape[0] * shape[1] * shape[2], list[nn.Module]()
    for outputs in hidden:
        layers += [*_hidden(inputs, outputs, slots), *_dropout(slots)]
        inputs = outputs
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(inputs, len(classes)))


def resnet18(shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, width: Count = 64) -> nn.Module:
    """ResNet-18 for small images: a 3×3 stem without pooling, four stages of two blocks, dropout before the end.

    About 11.2 million parameters for 3×32×32 with normalization=batch, which it is meant for.
    """
    inputs, *size = shape
    height, pieces = size[0], slots.activation.pieces
    stem = [nn.Conv2d(inputs, width * pieces, 3, 1, 1, bias=False), *_normalized((width * pieces, *size), slots)]
    layers: list[nn.Module] = [*stem, slots.activation.build()]
    inputs, (height, across) = width, size
    for stage in range(4):
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(ResidualBlock(inputs, width * 2**stage, (height, across), stride, slots))
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
    """The lecture's CNN with a second head for the coarse task, whose loss is added with this weight."""
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
    """Two of the lecture's CNNs, one for each task, and a penalty on the distance of their parameters."""
    first, second = (_lecture_encoder(shape, slots, channels, hidden) for _ in range(2))
    return SoftSharing((first, second), hidden, _coarse_of(classes), coarse_weight, strength)


def _lecture_encoder(shape: tuple[int, int, int], slots: Slots, channels: tuple[int, int], hidden: int) -> nn.Module:
    """All of the lecture's CNN but its last layer: images to features [N, hidden]."""
    inputs, height, width = shape
    if min(height, width) < 16:
        raise ConfigError(f"the lecture's CNN needs images of at least 16×16 pixels, these have {height}×{width}")
    layers: list[nn.Module] = []
    for outputs in channels:
        height, width = (height - 4) // 2, (width - 4) // 2
        wide = outputs * slots.activation.pieces
        layers += [nn.Conv2d(inputs, wide, 5), nn.MaxPool2d(2)]
        layers += [*_normalized((wide, height, width), slots), slots.activation.build()]
        inputs = outputs
    features = inputs * height * width
    return nn.Sequential(*layers, nn.Flatten(), *_dropout(slots), *_hidden(features, hidden, slots), *_dropout(slots))


def _hidden(inputs: int, outputs: int, slots: Slots) -> list[nn.Module]:
    wide = outputs * slots.activation.pieces
    return [nn.Linear(inputs, wide), *_normalized((wide,), slots), slots.activation.build()]


def _normalized(shape: tuple[int, ...], slots: Slots) -> list[nn.Module]:
    normalization = slots.normalization(shape)
    return [normalization] if normalization else []


def _dropout(slots: Slots) -> list[nn.Module]:
    return [nn.Dropout(slots.dropout)] if slots.dropout else []


VEHICLES = frozenset({"airplane", "automobile", "ship", "truck"})
ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})


def _coarse_of(classes: tuple[str, ...]) -> Tensor:
    """[K, 2], one where a class belongs to the coarse one: vehicle or animal (CIFAR-10), even or odd (digits).

    Raises ConfigError for classes that are neither.
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


def _coarse_loss(logits: Tensor, labels: Tensor, coarse_of: Tensor) -> Tensor:
    return F.cross_entropy(logits, coarse_of[labels] if labels.ndim == 1 else labels @ coarse_of)
