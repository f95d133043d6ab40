"""Figures of the pixels of images, which a network scales its input by: bytes count as values from 0 to 1."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trainer.data.images import Images
from trainer.data.loader import in_order


def statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [C] of each channel: bytes as values from 0 to 1, floats in their own unit."""
    mean, std = (_of_bytes if images.are_bytes else _of_floats)(images)
    return mean.float(), _not_zero(std, mean, images).float()


def _not_zero(std: Tensor, mean: Tensor, images: Images) -> Tensor:
    """Return the deviations with 1 for those that are zero but for rounding: what is constant is not scaled."""
    least = torch.full_like(mean, 1e-6) if images.are_bytes else (1e-7 * mean.abs()).clamp(min=1e-30)
    return torch.where(std > least, std, torch.ones_like(std))


def _of_bytes(images: Images) -> tuple[Tensor, Tensor]:
    """Return the statistics from a histogram of the 256 values, so that the order of the images changes no bit."""
    counts = torch.zeros(images.shape[0], 256, dtype=torch.int64)
    parts = torch.arange(len(images), device=images.labels.device).split(
        1024
    )  # images: these pixels fit into the processor's cache
    with images.in_turn():
        for positions in parts:
            for channel, values in enumerate(images.at(positions).cpu().unbind(1)):
                counts[channel] += values.flatten().bincount(minlength=256)
    # In double precision: the sums of a million pixels exceed the digits of single precision.
    share, value = counts.double() / counts.sum(1, keepdim=True), torch.arange(256) / 255.0
    mean = (share * value).sum(1)
    return mean, (share * (value - mean[:, None]).square()).sum(1).sqrt()


def _of_floats(images: Images) -> tuple[Tensor, Tensor]:
    """Return the statistics from sums of x − c and its square, c being the mean of the first images.

    The squares of values far from zero themselves would lose the digits of a small deviation.
    """
    count = len(images) * math.prod(images.shape[1:])
    first, total, squares = np.zeros(0), np.zeros(images.shape[0]), np.zeros(images.shape[0])
    for positions in in_order(images):
        # In double precision, and by NumPy, whose sums do not depend on the number of threads.
        values = images.at(positions).cpu().double().contiguous().numpy()
        first = first if first.size else values.mean((0, 2, 3))
        values -= first[:, None, None]
        total += values.sum((0, 2, 3))
        squares += np.square(values, out=values).sum((0, 2, 3))
    mean = total / count
    variance = (squares / count - mean**2).clip(min=0)
    return torch.from_numpy(first + mean), torch.from_numpy(np.sqrt(variance))


def pixel_statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [C, H, W] of each pixel over the images."""
    first, total, squares = np.zeros(0), np.zeros(images.shape), np.zeros(images.shape)
    for values in _in_double(images):
        first = first if first.size else values.mean(0)
        values -= first  # squares of values far from zero would lose the digits of a small deviation
        total += values.sum(0)
        squares += np.square(values).sum(0)
    shift = total / len(images)
    std = np.sqrt((squares / len(images) - shift**2).clip(min=0))
    mean = torch.from_numpy(first + shift)
    return mean.float(), _not_zero(torch.from_numpy(std), mean, images).float()


def deviation_from(mean: Tensor, images: Images) -> Tensor:
    """Return the root mean square distance [C] of each channel from a mean image [C, H, W]."""
    squares, centre = np.zeros(images.shape[0]), mean.double().numpy()
    for values in _in_double(images):
        squares += np.square(values - centre).sum((0, 2, 3))
    std = torch.from_numpy(np.sqrt(squares / (len(images) * math.prod(images.shape[1:]))))
    return _not_zero(std, mean.double().mean((1, 2)), images).float()


def bounds(images: Images) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest value [C] of each channel."""
    low, high = torch.full((images.shape[0],), torch.inf), torch.full((images.shape[0],), -torch.inf)
    for positions in in_order(images):
        pixels = images.at(positions).transpose(0, 1).flatten(1).cpu()
        least, most = pixels.aminmax(dim=1)
        low, high = low.minimum(least), high.maximum(most)
    return (low / 255, high / 255) if images.are_bytes else (low, high)


def covariance(images: Images, mean: Tensor) -> Tensor:
    """Return the covariance [D, D] of the D = C·H·W values of an image, about a mean image [C, H, W], as float64."""
    size, centre = math.prod(images.shape), mean.double().numpy()
    products = np.zeros((size, size))
    for values in _in_double(images):
        centred = (values - centre).reshape(len(values), size)
        products += centred.T @ centred
    return torch.from_numpy(products / len(images))


def _in_double(images: Images) -> Iterator[np.ndarray]:
    """Yield the pixels [B, C, H, W] of all images in double precision, bytes as values from 0 to 1."""
    # By NumPy, whose sums do not depend on the number of threads.
    unit = 255.0 if images.are_bytes else 1.0
    with images.in_turn():
        for positions in in_order(images):
            yield images.at(positions).cpu().double().contiguous().numpy() / unit
