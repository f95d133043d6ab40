"""Own preprocessing: (shape, *, options) -> torch.nn.Module, from pixels to floats of the same shape."""

import torch
from torch import Tensor, nn

from trainer.config.types import Positive
from trainer.data.images import Images


def technique(
    shape: tuple[int, int, int],
    *,
    power: Positive = 0.5,  # below 1: dark values are spread
) -> nn.Module:
    """Raise the pixels to a power, and subtract the mean of each channel."""
    # shape: (C, H, W) of an image.
    return _Technique(shape[0], power)


class _Technique(nn.Module):
    """The layer of `technique`."""

    mean: Tensor

    def __init__(self, channels: int, power: float) -> None:
        super().__init__()
        self.power = power
        # A buffer is saved with the network, so that a checkpoint alone is enough to classify an image.
        self.register_buffer("mean", torch.zeros(channels, 1, 1))

    def fit(self, images: Images) -> None:
        """Compute what depends on the training images: called once, before training."""
        # images.pixels: [N, C, H, W], uint8 from 0 to 255 or floats, perhaps on a GPU.
        self.mean.copy_(self._raised(images.pixels.cpu()).mean((0, 2, 3)).view(-1, 1, 1))  # To do: your figures

    def forward(self, images: Tensor) -> Tensor:
        """Return floats of the same shape, [N, C, H, W]; bytes x and floats x / 255 become the same."""
        return self._raised(images) - self.mean  # To do: your layer

    def _raised(self, images: Tensor) -> Tensor:
        values = images if images.is_floating_point() else images.float() / 255
        return values.clamp(min=0) ** self.power
