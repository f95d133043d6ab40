"""The layers before a network: they turn pixels into the numbers that it computes with."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.images import Images, Shape
from trainer.data.statistics import covariance, pixel_statistics
from trainer.runtime.console import waiting

Statistics = Callable[[Images], tuple[Tensor, Tensor]]  # (mean, std), each [C] or [C, H, W]


class InputScaling(nn.Module):
    """(x − mean) / std for each channel or pixel; takes uint8 0–255, or floats.

    Floats are from 0 to 1 if the training images are bytes, and else in the unit of the training images. It is part of
    the network, so that a checkpoint alone is enough to classify an image. `statistics`: what `fit` takes mean and std
    from; None: they stay what they are. `each_pixel`: which of the two has a value for each pixel.
    """

    mean: Tensor
    std: Tensor
    shift: Tensor
    scale: Tensor
    scale_of_bytes: Tensor

    def __init__(
        self, shape: Shape, statistics: Statistics | None = None, each_pixel: tuple[bool, bool] = (False, False)
    ) -> None:
        super().__init__()
        self.shape, self.statistics = shape, statistics
        for name, value, whole in zip(("mean", "std"), (0.0, 1.0), each_pixel, strict=True):
            self.register_buffer(name, torch.full(shape if whole else (shape[0], 1, 1), value))
        for name in ("shift", "scale", "scale_of_bytes"):  # not saved: they follow from the mean and std that are
            self.register_buffer(name, None, persistent=False)
        self.spread()
        self.register_load_state_dict_post_hook(_spread_anew)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scaled images as floats."""
        # x·scale + shift in one operation, which for bytes includes the division by 255.
        if images.is_floating_point():
            return torch.addcmul(self.shift, images, self.scale)
        return torch.addcmul(self.shift, images.float(), self.scale_of_bytes)

    def fit(self, images: Images) -> None:
        """Take mean and std from the training images."""
        if self.statistics:
            self.set(*self.statistics(images))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and std, each [C] or [C, H, W]."""
        for kept, value in ((self.mean, mean), (self.std, std)):
            kept.copy_(value.view_as(kept))
        self.spread()

    def spread(self) -> None:
        """Compute shift and scales from mean and std, as [1, C, H, W] in the memory order of the images."""
        # With one value for each channel, which in channels-last order changes from number to number, a CPU takes five
        # times as long as with two tensors of the same order.
        values = {"shift": -self.mean / self.std, "scale": 1 / self.std, "scale_of_bytes": 1 / (255 * self.std)}
        for name, value in values.items():
            full = value.expand(1, *self.shape).contiguous(memory_format=torch.channels_last)
            setattr(self, name, full)


def _spread_anew(scaling: InputScaling, keys: Any) -> None:
    """Compute the scales anew after mean and std were loaded."""
    # Not if they are missing in the file, which torch reports, nor on the meta device: the size, which stands in an
    # untrusted file, has not been checked yet.
    if not keys.missing_keys and not scaling.shift.is_meta:
        scaling.spread()


class Whitening(InputScaling):
    """Values of an image without correlation and of variance 1 on the training images: matrix · (x − mean).

    `kind`: "zca" keeps the picture, "pca" gives the components in the order of their variance. `eps`: added to each
    variance, as a share of the mean variance of the pixels; with 0 a direction that does not vary becomes zero.
    """

    matrix: Tensor

    def __init__(self, shape: Shape, kind: Literal["zca", "pca"], eps: float) -> None:
        super().__init__(shape, each_pixel=(True, False))
        self.kind, self.eps = kind, eps
        self.register_buffer("matrix", torch.zeros(2 * (math.prod(shape),)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the whitened images as floats [N, C, H, W]."""
        centred = super().forward(images)
        # In fp32 whatever the precision of the run: the matrix enlarges small differences of large numbers.
        with torch.autocast(images.device.type, enabled=False):
            whitened = F.linear(centred.flatten(1), self.matrix)
        return whitened.view(-1, *self.shape).contiguous(memory_format=torch.channels_last)

    def fit(self, images: Images) -> None:
        """Compute the matrix from the training images. Its effort grows with the third power of C·H·W."""
        with waiting("Computing the whitening of the training images"):
            mean, _ = pixel_statistics(images)
            variances, directions = torch.linalg.eigh(covariance(images, mean))  # a direction is a column
        total = variances + self.eps * variances.mean()
        # What is left of a direction that does not vary is rounding.
        factors = torch.where(variances > 1e-10 * variances[-1], total.rsqrt(), torch.zeros_like(total))
        matrix = factors[:, None] * directions.T
        if self.kind == "zca":
            matrix = directions @ matrix
        else:  # the largest variance first, and the sign that makes the largest share of a direction positive
            largest = matrix.gather(1, matrix.abs().argmax(1, keepdim=True))
            matrix = (matrix * largest.sign()).flip(0)
        self.matrix.copy_(matrix)
        self.set(mean, torch.ones(self.shape[0]))
