"""The parts of the lecture's networks: the encoder that several models share, and the coarse task of its classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.errors import ConfigError
from trainer.techniques.layers import Slots, normalized


def lecture_encoder(
    shape: tuple[int, int, int],
    slots: Slots,
    channels: tuple[int, ...],
    hidden: int | tuple[int, ...],
    kernel_size: int,
) -> tuple[nn.Module, int]:
    """Return the lecture's CNN without its last layer, images → features [N, F], and F."""
    inputs, height, width = shape
    layers: list[nn.Module] = []
    for outputs in channels:
        # A k×k convolution without padding takes k − 1 pixels off each side, pooling halves the rest.
        height, width = (height - kernel_size + 1) // 2, (width - kernel_size + 1) // 2
        wide = outputs * slots.activation.pieces
        layers += [nn.Conv2d(inputs, wide, kernel_size), nn.MaxPool2d(2)]
        layers += [*normalized((wide, height, width), slots), slots.activation.build()]
        inputs = outputs
    layers += [nn.Flatten(), *dropout(slots)]
    inputs *= height * width
    for outputs in (hidden,) if isinstance(hidden, int) else hidden:
        layers += [*hidden_layer(inputs, outputs, slots), *dropout(slots)]
        inputs = outputs
    return nn.Sequential(*layers), inputs


def mlp_network(shape: tuple[int, int, int], classes: int, slots: Slots, hidden: tuple[int, ...]) -> nn.Module:
    """Return linear layers of these widths, each with normalization, activation and dropout, and the last one."""
    inputs, layers = shape[0] * shape[1] * shape[2], list[nn.Module]()
    for outputs in hidden:
        layers += [*hidden_layer(inputs, outputs, slots), *dropout(slots)]
        inputs = outputs
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(inputs, classes))


def note_000_network(shape: tuple[int, int, int], classes: int, slots: Slots, channels: int) -> nn.Module:
    """Return a 3×3 convolution, normalization, activation, a linear layer, and normalization of the logits."""
    inputs, height, width = shape[0], shape[1] - 2, shape[2] - 2
    wide = channels * slots.activation.pieces
    layers = [nn.Conv2d(inputs, wide, 3), *normalized((wide, height, width), slots), slots.activation.build()]
    head = [nn.Linear(channels * height * width, classes), *normalized((classes,), slots)]
    return nn.Sequential(*layers, nn.Flatten(), *dropout(slots), *head)


def hidden_layer(inputs: int, outputs: int, slots: Slots) -> list[nn.Module]:
    """Return a linear layer with its normalization and activation."""
    wide = outputs * slots.activation.pieces
    return [nn.Linear(inputs, wide), *normalized((wide,), slots), slots.activation.build()]


def dropout(slots: Slots) -> list[nn.Module]:
    """Return the dropout layer as a list, which is empty without one."""
    return [nn.Dropout(slots.dropout)] if slots.dropout else []


VEHICLES = frozenset({"airplane", "automobile", "ship", "truck"})
ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})


def coarse_of(classes: tuple[str, ...]) -> Tensor:
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
