"""A normalization layer for features of shape (F,) or (C, H, W), or None."""

from torch import nn

from trainer.config.types import Count, OpenFraction, Positive
from trainer.errors import ConfigError


def none(shape: tuple[int, ...]) -> nn.Module | None:
    return None


def batch(shape: tuple[int, ...], *, momentum: OpenFraction = 0.1, eps: Positive = 1e-5) -> nn.Module:
    """Over the batch, for each channel. Running statistics: new = (1 − momentum)·old + momentum·batch."""
    layer = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    return layer(shape[0], eps=eps, momentum=momentum)


def layer(shape: tuple[int, ...], *, eps: Positive = 1e-5) -> nn.Module:
    """Over all features of one image; no batch, no running statistics. Ba et al. 2016."""
    return nn.LayerNorm(shape, eps=eps)


def group(shape: tuple[int, ...], *, num_groups: Count = 2, eps: Positive = 1e-5) -> nn.Module:
    """Over groups of channels of one image. Raises ConfigError if the groups do not divide the channels."""
    if shape[0] % num_groups:
        raise ConfigError(f"normalization.num_groups={num_groups}: must divide the layer's {shape[0]} channels")
    return nn.GroupNorm(num_groups, shape[0], eps=eps)
