"""The scaling of pixels before the first layer of a network, by figures of the training images.

Each function takes the shape (C, H, W) of an image and returns a module, which turns a batch of pixels, uint8 0–255 or
floats, into floats of the same shape. Bytes x and floats x / 255 mean the same. If the module has `fit(images)`, that
is called once, with the training images alone, before training. It is saved with the network.
"""

from typing import Literal

import torch
from torch import nn

from trainer.config.types import NonNegative, Positive
from trainer.data.images import Images, Shape
from trainer.data.statistics import bounds, deviation_from, pixel_statistics, statistics
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.techniques.networks.input_layers import InputScaling, Whitening

MOST_VALUES = 4096  # of an image that is whitened: more take minutes, and a matrix of gigabytes


def standardize(shape: Shape) -> nn.Module:
    """(x − mean) / standard deviation, of each channel."""
    return InputScaling(shape, statistics)


def center(shape: Shape) -> nn.Module:
    """x − mean of each channel, without a division."""

    def centred(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean, and 1."""
        mean, std = statistics(images)
        return mean, torch.ones_like(std)

    return InputScaling(shape, centred)


def scale(shape: Shape, *, by: Literal["deviation", "range"] = "deviation") -> nn.Module:
    """x / standard deviation of each channel, without centring; or each channel brought to −1 … 1."""

    def scaled(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is subtracted, and what is divided by."""
        if by == "deviation":
            mean, std = statistics(images)
            return torch.zeros_like(mean), std
        low, high = bounds(images)
        return (low + high) / 2, torch.where(high > low, (high - low) / 2, torch.ones_like(high))

    return InputScaling(shape, scaled)


def none(shape: Shape) -> nn.Module:
    """The pixels as they are: bytes as values from 0 to 1, floats in their own unit."""
    return InputScaling(shape)


def fixed(shape: Shape, *, mean: tuple[float, ...] = (0.5,), std: tuple[Positive, ...] = (0.5,)) -> nn.Module:
    """(x − mean) / std with given numbers, one for all channels or one for each; bytes are values from 0 to 1."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, shape[0]):
            raise ConfigError(
                f"preprocessing.{name} lists {counted(len(values), 'number')}, and the images have"
                f" {counted(shape[0], 'channel')}: one for all, or one for each"
            )
    scaling = InputScaling(shape)
    scaling.set(*(torch.tensor(values).expand(shape[0]) for values in (mean, std)))
    return scaling


def per_pixel(shape: Shape, *, deviation: Literal["channel", "pixel", "none"] = "channel") -> nn.Module:
    """x − mean image, divided by a deviation of each channel, of each pixel, or not divided. Krizhevsky et al. 2012."""

    def about_mean_image(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean image and the deviation from it."""
        mean, std = pixel_statistics(images)
        if deviation == "pixel":
            return mean, std
        return mean, deviation_from(mean, images) if deviation == "channel" else torch.ones(shape[0])

    return InputScaling(shape, about_mean_image, each_pixel=(True, deviation == "pixel"))


def whiten(shape: Shape, *, kind: Literal["zca", "pca"] = "zca", eps: NonNegative = 0.01) -> nn.Module:
    """All values of an image without correlation and with variance 1 on the training images. Krizhevsky 2009."""
    if (values := shape[0] * shape[1] * shape[2]) > MOST_VALUES:
        raise ConfigError(
            f"preprocessing=whiten needs images of at most {MOST_VALUES} values, and {'×'.join(map(str, shape))} are"
            f" {values}: choose a smaller dataset.image_size, or preprocessing=per_pixel"
        )
    return Whitening(shape, kind, eps)
