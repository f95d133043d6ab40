"""Random changes to a training batch: each image draws its own, anew in every epoch, all in one tensor operation.

Images are [N, C, H, W], uint8 0–255 or float 0–1 (torchvision's convention). Labels are class indices [N] or,
once images have been mixed, class probabilities [N, K]. What leaves the frame is filled with black.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from trainer.config.types import Count, Positive, Probability

Mixed = tuple[Tensor, Tensor]


def flip(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, probability: Probability = 0.5) -> Mixed:
    """Mirrors left and right."""
    mirrored = _uniform(images, draw, 0, 1) < probability
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images), labels


def crop(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, padding: Count = 4) -> Mixed:
    """Pads with black on all sides and cuts the original size out at a random place: a shift by up to `padding`."""
    count, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4).permute(0, 2, 3, 1)
    top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=draw, device=images.device)
    # A view of every window that there is; picking one an image copies whole rows, four times faster than pixels.
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    return windows[torch.arange(count, device=images.device), top, left].permute(0, 3, 1, 2), labels


def rotation(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, degrees: Positive = 10.0) -> Mixed:
    """Turns by an angle drawn from ±degrees."""
    angle = _uniform(images, draw, -1, 1) * math.radians(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    ratio = images.shape[2] / images.shape[3]  # grid coordinates run from -1 to 1 on both sides
    matrix = [[cosine, -sine * ratio, zero], [sine / ratio, cosine, zero]]
    return _warp(images, torch.stack([torch.stack(row, 1) for row in matrix], 1)), labels


def translate(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, fraction: Probability = 0.1) -> Mixed:
    """Shifts by up to this fraction of the width and of the height."""
    right, down = (2 * fraction * _uniform(images, draw, -1, 1) for _ in range(2))
    one, zero = torch.ones_like(right), torch.zeros_like(right)
    matrix = [[one, zero, -right], [zero, one, -down]]
    return _warp(images, torch.stack([torch.stack(row, 1) for row in matrix], 1)), labels


def scale(
    images: Tensor,
    labels: Tensor,
    classes: int,
    draw: Generator,
    *,
    low: Positive = 0.9,
    high: Positive = 1.1,
) -> Mixed:
    """Enlarges around the centre by a factor between `low` and `high`."""
    inverse, zero = 1 / _uniform(images, draw, low, high), torch.zeros(len(images), device=images.device)
    matrix = [[inverse, zero, zero], [zero, inverse, zero]]
    return _warp(images, torch.stack([torch.stack(row, 1) for row in matrix], 1)), labels


def color_jitter(
    images: Tensor,
    labels: Tensor,
    classes: int,
    draw: Generator,
    *,
    brightness: Probability = 0.2,
    contrast: Probability = 0.2,
    saturation: Probability = 0.2,
) -> Mixed:
    """Brightness, contrast, saturation, in this order, each by a factor drawn from 1 ± its value."""
    # A plane a channel: with the channels of a pixel side by side, what all three get takes four times as long.
    images = _float(images.contiguous())
    factors = [
        _uniform(images, draw, 1 - strength, 1 + strength).view(-1, 1, 1, 1)
        for strength in (brightness, contrast, saturation)
    ]
    images = (images * factors[0]).clamp_(max=1)  # a tensor of our own: the rest works in place, at half the time
    mean = _gray(images).mean((1, 2, 3), keepdim=True)
    images.mul_(factors[1]).add_(mean * (1 - factors[1])).clamp_(0, 1)
    gray = _gray(images)
    images.mul_(factors[2]).add_(gray * (1 - factors[2])).clamp_(0, 1)
    return images.contiguous(memory_format=torch.channels_last), labels


def noise(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, std: Positive = 0.05) -> Mixed:
    """Adds Gaussian noise to every pixel; `std` on the scale where white is 1."""
    images = _float(images)
    return images + std * torch.randn(images.shape, generator=draw, device=images.device), labels


def cutout(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, size: Count = 8) -> Mixed:
    """Blackens a square of `size` pixels around a random centre. DeVries & Taylor 2017."""
    return images * ~_box(images, draw, torch.full((len(images),), size, device=images.device)), labels


def mixup(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, alpha: Positive = 0.2) -> Mixed:
    """Blends each image and its label with another's, in proportion λ ~ Beta(α, α). Zhang et al. 2018."""
    images, labels = _float(images), _probabilities(labels, classes)
    share = _beta(images, draw, alpha)
    other = torch.randperm(len(images), generator=draw, device=images.device)
    pixels = share.view(-1, 1, 1, 1)
    return (
        pixels * images + (1 - pixels) * images[other],
        share[:, None] * labels + (1 - share[:, None]) * labels[other],
    )


def cutmix(images: Tensor, labels: Tensor, classes: int, draw: Generator, *, alpha: Positive = 1.0) -> Mixed:
    """Pastes a box of another image in; the labels mix by area. Yun et al. 2019."""
    labels = _probabilities(labels, classes)
    share = _beta(images, draw, alpha)
    box = _box(images, draw, (1 - share).sqrt() * min(images.shape[2:]))
    other = torch.randperm(len(images), generator=draw, device=images.device)
    kept = 1 - box.float().mean((1, 2, 3))[:, None]
    return torch.where(box, images[other], images), kept * labels + (1 - kept) * labels[other]


def _uniform(images: Tensor, draw: Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(images), generator=draw, device=images.device)


def _beta(images: Tensor, draw: Generator, alpha: float) -> Tensor:
    """[N] draws from Beta(α, α) as Γ₁ / (Γ₁ + Γ₂); torch's own sampler takes no generator.

    In logarithms, log Γ(α) = log Γ(α + 1) + log(1 − U) / α: for a small α the draws themselves would underflow.
    """
    shape = (2, len(images))
    gammas = torch._standard_gamma(torch.full(shape, alpha + 1, device=images.device), generator=draw)
    uniform = torch.rand(shape, generator=draw, device=images.device)
    logs = gammas.log() + torch.log1p(-uniform) / alpha  # 1 − U is never 0
    return (logs[0] - logs[1]).sigmoid()


def _box(images: Tensor, draw: Generator, size: Tensor) -> Tensor:
    """[N, 1, H, W], true inside a square of side `size` [N] around a random centre, cut at the border."""
    height, width = images.shape[2:]
    row = (_uniform(images, draw, 0, height).floor()).view(-1, 1)
    column = (_uniform(images, draw, 0, width).floor()).view(-1, 1)
    half = size.view(-1, 1) / 2
    down, across = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows = (down >= row - half) & (down < row + half)
    columns = (across >= column - half) & (across < column + half)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Bilinear sampling at matrix·(x, y, 1), [N, 2, 3], in coordinates from -1 to 1."""
    images = _float(images)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).contiguous(memory_format=torch.channels_last)


def _float(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _gray(images: Tensor) -> Tensor:
    """[N, 1, H, W]: ITU-R 601 luma of three channels, the mean of any other number."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    return (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _probabilities(labels: Tensor, classes: int) -> Tensor:
    # Not one_hot, which looks at the labels' values and so waits for the device.
    return (labels[:, None] == torch.arange(classes, device=labels.device)).float() if labels.ndim == 1 else labels
