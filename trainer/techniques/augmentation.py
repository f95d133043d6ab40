"""Random changes to a training batch: other ones for each image and epoch, computed for the whole batch at once.

Images are [N, C, H, W], uint8 0–255 or float 0–1 (torchvision's convention). Labels are class indices [N] or,
once images have been mixed, class probabilities [N, K]. Places that no pixel is moved to become black.
"""

import math
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from trainer.config.types import Count, CountOrZero, Positive, Probability, Repeats
from trainer.techniques.images.image_operations import blurred, change, colorless
from trainer.techniques.images.policies import chain, follow, operations_of, wide_operation
from trainer.techniques.images.rectangles import random_rectangles

Mixed = tuple[Tensor, Tensor]


def flip(
    images: Tensor, labels: Tensor, classes: int, generator: Generator, *, probability: Probability = 0.5
) -> Mixed:
    """Mirror left and right."""
    mirrored = _uniform(images, generator, 0, 1) < probability
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images), labels


def crop(images: Tensor, labels: Tensor, classes: int, generator: Generator, *, padding: Count = 4) -> Mixed:
    """Pad with black on all sides and cut out the original size at a random place: a shift by up to `padding`."""
    count, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4).permute(0, 2, 3, 1)
    top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=generator, device=images.device)
    # A view of all windows: one of them for each image is copied by whole rows, four times faster than by pixels.
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    return windows[torch.arange(count, device=images.device), top, left].permute(0, 3, 1, 2), labels


def rotation(images: Tensor, labels: Tensor, classes: int, generator: Generator, *, degrees: Positive = 10.0) -> Mixed:
    """Rotate by an angle drawn from ±degrees."""
    angle = _uniform(images, generator, -1, 1) * math.radians(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Grid coordinates run from −1 to 1 in both directions, whatever the sides: without the ratio it would shear.
    ratio = images.shape[2] / images.shape[3]
    matrix = [[cosine, -sine * ratio, zero], [sine / ratio, cosine, zero]]
    return _warp(images, torch.stack([torch.stack(row, 1) for row in matrix], 1)), labels


def translate(
    images: Tensor, labels: Tensor, classes: int, generator: Generator, *, fraction: Probability = 0.1
) -> Mixed:
    """Shift by up to this fraction of the width and of the height."""
    right, down = (2 * fraction * _uniform(images, generator, -1, 1) for _ in range(2))
    # The matrix maps places of the result to places of the source: the reverse of the shift.
    one, zero = torch.ones_like(right), torch.zeros_like(right)
    matrix = [[one, zero, -right], [zero, one, -down]]
    return _warp(images, torch.stack([torch.stack(row, 1) for row in matrix], 1)), labels


def scale(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    low: Positive = 0.9,
    high: Positive = 1.1,
) -> Mixed:
    """Enlarge around the centre by a factor between `low` and `high`."""
    inverse, zero = 1 / _uniform(images, generator, low, high), torch.zeros(len(images), device=images.device)
    matrix = [[inverse, zero, zero], [zero, inverse, zero]]
    return _warp(images, torch.stack([torch.stack(row, 1) for row in matrix], 1)), labels


def color_jitter(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    brightness: Probability = 0.2,
    contrast: Probability = 0.2,
    saturation: Probability = 0.2,
) -> Mixed:
    """Change brightness, contrast and saturation, in this order, each by a factor drawn from 1 ± its value."""
    # One plane for each channel: with the channels of a pixel side by side, these operations take four times as long.
    images = _float(images.contiguous())
    factors = [
        _uniform(images, generator, 1 - strength, 1 + strength).view(-1, 1, 1, 1)
        for strength in (brightness, contrast, saturation)
    ]
    images = (images * factors[0]).clamp_(max=1)  # a new tensor: the rest works in place, in half the time
    # A blend of the image with its mean grey, then with its own grey: torchvision's contrast and saturation.
    mean = _gray(images).mean((1, 2, 3), keepdim=True)
    images.mul_(factors[1]).add_(mean * (1 - factors[1])).clamp_(0, 1)
    gray = _gray(images)
    images.mul_(factors[2]).add_(gray * (1 - factors[2])).clamp_(0, 1)
    return images.contiguous(memory_format=torch.channels_last), labels


def noise(images: Tensor, labels: Tensor, classes: int, generator: Generator, *, std: Positive = 0.05) -> Mixed:
    """Add Gaussian noise to every pixel; `std` on the scale where white is 1."""
    images = _float(images)
    return images + std * torch.randn(images.shape, generator=generator, device=images.device), labels


def cutout(images: Tensor, labels: Tensor, classes: int, generator: Generator, *, size: Count = 8) -> Mixed:
    """Blacken a square of `size` pixels around a random centre. DeVries & Taylor 2017."""
    return images * ~_box(images, generator, torch.full((len(images),), size, device=images.device)), labels


def random_erasing(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    probability: Probability = 0.5,
    min_area: Probability = 0.02,
    max_area: Probability = 0.33,
    min_ratio: Positive = 0.3,
    max_ratio: Positive = 3.3,
    fill: Literal["black", "random"] = "black",
) -> Mixed:
    """Erase a rectangle of a random area, shape and place, as torchvision does. Zhong et al. 2020."""
    inside = random_rectangles(images, generator, (min_area, max_area), (min_ratio, max_ratio))
    erased = inside & (_uniform(images, generator, 0, 1) < probability).view(-1, 1, 1, 1)
    if fill == "black":
        return images.masked_fill(erased, 0), labels
    paint = torch.randint(0, 256, images.shape, generator=generator, device=images.device, dtype=torch.uint8)
    return torch.where(erased, paint if images.dtype == torch.uint8 else _float(paint), images), labels


def gray(
    images: Tensor, labels: Tensor, classes: int, generator: Generator, *, probability: Probability = 0.1
) -> Mixed:
    """Take the colours out of an image. Chen et al. 2020 (SimCLR)."""
    return change(images, _uniform(images, generator, 0, 1) < probability, colorless), labels


def blur(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    probability: Probability = 0.5,
    kernel_size: Count = 3,
    min_sigma: Positive = 0.1,
    max_sigma: Positive = 2.0,
) -> Mixed:
    """Blur with a Gaussian whose deviation is drawn from `min_sigma` to `max_sigma` pixels. Chen et al. 2020."""
    chosen = _uniform(images, generator, 0, 1) < probability
    sigma = _uniform(images, generator, min_sigma, max_sigma)
    result = change(images.contiguous(), chosen, partial(blurred, size=kernel_size), sigma)
    return result.contiguous(memory_format=torch.channels_last), labels


def rand_augment(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    num_ops: Repeats = 2,
    magnitude: CountOrZero = 9,
) -> Mixed:
    """Apply operations that are drawn for each image, all of one strength from 0 to 30. Cubuk et al. 2020."""
    images = operations_of(num_ops, magnitude, images.contiguous(), generator)
    return images.contiguous(memory_format=torch.channels_last), labels


def trivial_augment(images: Tensor, labels: Tensor, classes: int, generator: Generator) -> Mixed:
    """Apply one operation of a strength that is drawn as well (the wide ranges). Müller & Hutter 2021."""
    images = wide_operation(images.contiguous(), generator)
    return images.contiguous(memory_format=torch.channels_last), labels


def auto_augment(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    policy: Literal["cifar10", "svhn", "imagenet"] = "cifar10",
) -> Mixed:
    """Apply one of the 25 pairs of operations that were learned for a data set. Cubuk et al. 2019."""
    images = follow(policy, images.contiguous(), generator)
    return images.contiguous(memory_format=torch.channels_last), labels


def aug_mix(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: Generator,
    *,
    severity: Count = 3,
    mixture_width: Repeats = 3,
    chain_depth: Repeats | None = None,
    alpha: Positive = 1.0,
    all_ops: bool = True,
) -> Mixed:
    """Blend an image with several that were changed, each by a chain of operations. Hendrycks et al. 2020."""
    images = images.contiguous()
    changed = _beta(images, generator, alpha)
    shares = changed * _log_gammas(images, generator, alpha, mixture_width).softmax(0)
    mixed = _float(images) * (1 - changed).view(-1, 1, 1, 1)
    for share in shares:
        result = chain(images, generator, severity, chain_depth, all_ops)
        mixed = mixed.addcmul(_float(result), share.view(-1, 1, 1, 1))
    return mixed.contiguous(memory_format=torch.channels_last), labels


def mixup(images: Tensor, labels: Tensor, classes: int, generator: Generator, *, alpha: Positive = 0.2) -> Mixed:
    """Blend each image and its label with those of another, in proportion λ ~ Beta(α, α). Zhang et al. 2018."""
    images, labels = _float(images), _probabilities(labels, classes)
    share = _beta(images, generator, alpha)
    other = torch.randperm(len(images), generator=generator, device=images.device)
    pixels = share.view(-1, 1, 1, 1)
    return (
        pixels * images + (1 - pixels) * images[other],
        share[:, None] * labels + (1 - share[:, None]) * labels[other],
    )


def cutmix(images: Tensor, labels: Tensor, classes: int, generator: Generator, *, alpha: Positive = 1.0) -> Mixed:
    """Paste a box of another image and mix the labels by area. Yun et al. 2019."""
    labels = _probabilities(labels, classes)
    share = _beta(images, generator, alpha)
    box = _box(images, generator, (1 - share).sqrt() * min(images.shape[2:]))
    other = torch.randperm(len(images), generator=generator, device=images.device)
    # The box is cut at the border, so that its area may be smaller than drawn; the labels follow the true area.
    kept = 1 - box.float().mean((1, 2, 3))[:, None]
    return torch.where(box, images[other], images), kept * labels + (1 - kept) * labels[other]


def _uniform(images: Tensor, generator: Generator, low: float, high: float) -> Tensor:
    """Return [N] numbers from `low` to `high`, one for each image."""
    return low + (high - low) * torch.rand(len(images), generator=generator, device=images.device)


def _beta(images: Tensor, generator: Generator, alpha: float) -> Tensor:
    """Return [N] numbers from Beta(α, α), as G₁ / (G₁ + G₂) with G ~ Gamma(α)."""
    logs = _log_gammas(images, generator, alpha, 2)
    return (logs[0] - logs[1]).sigmoid()


def _log_gammas(images: Tensor, generator: Generator, alpha: float, count: int) -> Tensor:
    """Return [count, N] logarithms of numbers from Gamma(α); torch's own samplers take no generator."""
    # In logarithms, as for a small α the numbers themselves would underflow: G(α) = G(α + 1)·U^(1/α).
    shape = (count, len(images))
    gammas = torch._standard_gamma(torch.full(shape, alpha + 1, device=images.device), generator=generator)
    uniform = torch.rand(shape, generator=generator, device=images.device)
    return gammas.log() + torch.log1p(-uniform) / alpha  # 1 − U is never 0


def _box(images: Tensor, generator: Generator, size: Tensor) -> Tensor:
    """Return [N, 1, H, W], true inside a square of side `size` [N] around a random centre, cut at the border."""
    height, width = images.shape[2:]
    row = (_uniform(images, generator, 0, height).floor()).view(-1, 1)
    column = (_uniform(images, generator, 0, width).floor()).view(-1, 1)
    half = size.view(-1, 1) / 2
    down, across = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows = (down >= row - half) & (down < row + half)
    columns = (across >= column - half) & (across < column + half)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Sample bilinearly at matrix·(x, y, 1), with the matrix [N, 2, 3], in coordinates from −1 to 1."""
    images = _float(images)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).contiguous(memory_format=torch.channels_last)


def _float(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _gray(images: Tensor) -> Tensor:
    """Return [N, 1, H, W]: the luma (ITU-R 601) of three channels, the mean of any other number."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    return (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _probabilities(labels: Tensor, classes: int) -> Tensor:
    # Not one_hot, which reads the labels' values and so waits for the device.
    return (labels[:, None] == torch.arange(classes, device=labels.device)).float() if labels.ndim == 1 else labels
