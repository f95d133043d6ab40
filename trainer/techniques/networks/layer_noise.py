"""Noise in a network while it trains: branches, features or blocks of features that are left out at random.

It is drawn from torch's global generators, as that of dropout is.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def without_branch(drop: float) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
    """Return a forward hook for the end of a branch that leaves it out of an image with probability `drop`.

    Those that are kept are enlarged by 1 / (1 − drop), so that their mean stays.
    """

    def hook(module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        if not module.training:
            return None
        shape = (len(output), *[1] * (output.ndim - 1))
        return output * torch.empty(shape, dtype=output.dtype, device=output.device).bernoulli_(1 - drop).div_(1 - drop)

    return hook


def without_inputs(rate: float) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
    """Return a forward hook before a network that sets values of its input to zero, and enlarges the others."""
    return lambda module, inputs: (F.dropout(inputs[0], rate, module.training),)


def without_blocks(drop: float, block_size: int) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor] | None]:
    """Return a forward hook before a layer that sets blocks of its input [N, C, H, W] to zero in training."""

    def hook(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        # What no trained layer has computed needs no gradient: the images, whole or as whitened patches.
        if not module.training or not inputs[0].requires_grad:
            return None
        return (drop_blocks(inputs[0], drop, block_size),)

    return hook


def drop_blocks(features: Tensor, drop: float, block_size: int) -> Tensor:
    """Set squares of each map to zero, about a share `drop` of it, and enlarge the rest so that the sum of ones stays.

    A square lies wholly within its map. Ghiasi et al. 2018, algorithm 1.
    """
    count, channels, height, width = features.shape
    size = min(block_size, height, width)
    places = (height - size + 1, width - size + 1)  # of a square's upper left corner
    share = drop * height * width / (size**2 * places[0] * places[1])
    corners = torch.empty((count, channels, *places), dtype=features.dtype, device=features.device)
    with torch.no_grad():
        dropped = F.max_pool2d(F.pad(corners.bernoulli_(min(share, 1.0)), [size - 1] * 4), size, 1)
        kept = 1 - dropped
        factor = kept.numel() / kept.sum(dtype=torch.float32).clamp(min=1)
    return features * kept * factor.to(features.dtype)
