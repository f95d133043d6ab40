"""The normalization layer for features of shape (F,) or (C, H, W); None for no layer."""

import math

from torch import nn

from trainer.config.types import Count, OpenFraction, Positive
from trainer.errors import ConfigError
from trainer.techniques.networks.reweighting import WeightMarker


def none(shape: tuple[int, ...]) -> nn.Module | None:
    """No layer."""
    return None


def batch(shape: tuple[int, ...], *, momentum: OpenFraction = 0.1, eps: Positive = 1e-5) -> nn.Module:
    """Normalization over the batch, for each channel. Ioffe & Szegedy 2015.

    Evaluation uses running statistics: new = (1 − momentum)·old + momentum·batch. torch's momentum is one minus that
    of most papers.
    """
    layer = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    return layer(shape[0], eps=eps, momentum=momentum)


def layer(shape: tuple[int, ...], *, eps: Positive = 1e-5) -> nn.Module:
    """Normalization over all features of one image, without batch or running statistics. Ba et al. 2016."""
    return nn.LayerNorm(shape, eps=eps)


def group(shape: tuple[int, ...], *, num_groups: Count = 2, eps: Positive = 1e-5) -> nn.Module:
    """Normalization over groups of channels of one image. Wu & He 2018.

    Raises ConfigError if the groups do not divide the channels.
    """
    if shape[0] % num_groups:
        raise ConfigError(f"normalization.num_groups={num_groups}: must divide the layer's {shape[0]} channels")
    return nn.GroupNorm(num_groups, shape[0], eps=eps)


def instance(shape: tuple[int, ...], *, eps: Positive = 1e-5) -> nn.Module | None:
    """Normalization over the places of each channel of one image, with learned scale and shift. Ulyanov et al. 2016.

    None where a channel is a single number, which has no variance: behind a linear layer, and for maps of 1×1.
    """
    return nn.InstanceNorm2d(shape[0], eps=eps, affine=True) if math.prod(shape[1:]) > 1 else None


def rms(shape: tuple[int, ...], *, eps: Positive = 1e-5) -> nn.Module:
    """Division by the root of the mean square over all features of one image, and a learned scale. Zhang 2019."""
    return nn.RMSNorm(shape, eps=eps)


def weight(shape: tuple[int, ...]) -> nn.Module:
    """The weight of every layer as learned lengths times directions. Salimans & Kingma 2016.

    What is returned marks that the network takes a normalization: its weights are changed when it is complete.
    """
    return WeightMarker()
