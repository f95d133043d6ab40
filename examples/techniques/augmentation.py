"""Augmentations of one's own: (images [N, C, H, W], labels, number of classes, generator) → the same.

Images are bytes 0–255 or floats 0–1. Every draw comes from `generator`, so that a run that is stopped continues with
the same bits, and each image draws for itself.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from trainer.config.types import OpenFraction

OPERATIONS = 11


def trivial_augment(
    images: Tensor, labels: Tensor, classes: int, generator: Generator, *, strongest: OpenFraction = 0.99
) -> tuple[Tensor, Tensor]:
    """TrivialAugment: each image gets one operation of a random strength. Müller & Hutter 2021.

    Of the paper's operations, equalizing and sharpening are left out.
    """
    pixels = (images / 255 if images.dtype == torch.uint8 else images).contiguous()
    count, device = len(pixels), pixels.device
    operation = torch.randint(OPERATIONS, (count,), generator=generator, device=device)
    strength = torch.rand(count, generator=generator, device=device) * strongest
    sign = torch.randint(2, (count,), generator=generator, device=device) * 2 - 1
    moved = _moved(pixels, operation, strength * sign)
    return _coloured(moved, operation.view(-1, 1, 1, 1), *(part.view(-1, 1, 1, 1) for part in (strength, sign))), labels


def _moved(images: Tensor, operation: Tensor, amount: Tensor) -> Tensor:
    """Apply operations 1 to 5: rotation by up to 135°, shear by up to 0.99, shift by up to the whole side."""
    angle = torch.where(operation == 1, amount * math.radians(135), 0)
    across, down = (torch.where(operation == number, amount, 0) for number in (2, 3))
    right, below = (torch.where(operation == number, 2 * amount, 0) for number in (4, 5))
    rows = [torch.stack([angle.cos(), across - angle.sin(), right], 1)]
    rows.append(torch.stack([down + angle.sin(), angle.cos(), below], 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    warped = F.grid_sample(images, grid, align_corners=False)
    return torch.where((operation.view(-1, 1, 1, 1) - 3).abs() <= 2, warped, images)


def _coloured(images: Tensor, operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Apply operations 6 to 10: brightness, contrast, saturation, posterizing, solarizing; 0 changes nothing."""
    gray = images.mean(1, keepdim=True)
    factor = 1 + strength * sign
    levels = 2 ** (8 - (6 * strength).floor())
    results = {
        6: images * factor,
        7: torch.lerp(gray.mean((2, 3), keepdim=True).expand_as(images), images, factor),
        8: torch.lerp(gray.expand_as(images), images, factor),
        9: (images * 255 * levels / 256).floor() * 256 / levels / 255,
        10: torch.where(images > 1 - strength, 1 - images, images),
    }
    for number, result in results.items():
        images = torch.where(operation == number, result.clamp(0, 1), images)
    return images
