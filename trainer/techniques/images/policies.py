"""Which operations are drawn for an image, and how strongly they act: torchvision's tables (checked with 0.29.1)."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from trainer.techniques.images.image_operations import BLENDS, FIRST_SIGNED, LAST_SIGNED, NAMES, operate


class Space(NamedTuple):
    """The operations to draw from, and the strength of the last of `bins` at equal distances; the first is no change.

    shear: pixels to the side on each pixel down. translate: pixels, or a share of the side if it is below 1. rotate:
    degrees. blend: of brightness, color, contrast, sharpness. posterize: the bits that are left, of the first and of
    the last bin.
    """

    operations: tuple[str, ...]
    bins: int
    shear: float
    translate: float
    rotate: float
    blend: float
    posterize: tuple[int, int]


AUTO = Space(NAMES, 10, 0.3, 150 / 331, 30.0, 0.9, (8, 4))
RAND = AUTO._replace(operations=NAMES[:-1], bins=31)  # all but invert
TRIVIAL = Space(NAMES[:-1], 31, 0.99, 32.0, 135.0, 0.99, (8, 2))
MIX = Space(NAMES[1:-1], 10, 0.3, 1 / 3, 30.0, 0.9, (4, 0))
MIX_WITHOUT_BLENDS = MIX._replace(operations=tuple(name for name in MIX.operations if name not in BLENDS))

# Cubuk et al. 2019 (AutoAugment), appendix: two operations a line, each with its probability and its bin. Where an
# operation has no strength the bin is 0.
POLICIES = {
    "cifar10": """
        invert 0.1 0  contrast 0.2 6
        rotate 0.7 2  translate_x 0.3 9
        sharpness 0.8 1  sharpness 0.9 3
        shear_y 0.5 8  translate_y 0.7 9
        autocontrast 0.5 0  equalize 0.9 0
        shear_y 0.2 7  posterize 0.3 7
        color 0.4 3  brightness 0.6 7
        sharpness 0.3 9  brightness 0.7 9
        equalize 0.6 0  equalize 0.5 0
        contrast 0.6 7  sharpness 0.6 5
        color 0.7 7  translate_x 0.5 8
        equalize 0.3 0  autocontrast 0.4 0
        translate_y 0.4 3  sharpness 0.2 6
        brightness 0.9 6  color 0.2 8
        solarize 0.5 2  invert 0.0 0
        equalize 0.2 0  autocontrast 0.6 0
        equalize 0.2 0  equalize 0.6 0
        color 0.9 9  equalize 0.6 0
        autocontrast 0.8 0  solarize 0.2 8
        brightness 0.1 3  color 0.7 0
        solarize 0.4 5  autocontrast 0.9 0
        translate_y 0.9 9  translate_y 0.7 9
        autocontrast 0.9 0  solarize 0.8 3
        equalize 0.8 0  invert 0.1 0
        translate_y 0.7 9  autocontrast 0.9 0
    """,
    "svhn": """
        shear_x 0.9 4  invert 0.2 0
        shear_y 0.9 8  invert 0.7 0
        equalize 0.6 0  solarize 0.6 6
        invert 0.9 0  equalize 0.6 0
        equalize 0.6 0  rotate 0.9 3
        shear_x 0.9 4  autocontrast 0.8 0
        shear_y 0.9 8  invert 0.4 0
        shear_y 0.9 5  solarize 0.2 6
        invert 0.9 0  autocontrast 0.8 0
        equalize 0.6 0  rotate 0.9 3
        shear_x 0.9 4  solarize 0.3 3
        shear_y 0.8 8  invert 0.7 0
        equalize 0.9 0  translate_y 0.6 6
        invert 0.9 0  equalize 0.6 0
        contrast 0.3 3  rotate 0.8 4
        invert 0.8 0  translate_y 0.0 2
        shear_y 0.7 6  solarize 0.4 8
        invert 0.6 0  rotate 0.8 4
        shear_y 0.3 7  translate_x 0.9 3
        shear_x 0.1 6  invert 0.6 0
        solarize 0.7 2  translate_y 0.6 7
        shear_y 0.8 4  invert 0.8 0
        shear_x 0.7 9  translate_y 0.8 3
        shear_y 0.8 5  autocontrast 0.7 0
        shear_x 0.7 2  invert 0.1 0
    """,
    "imagenet": """
        posterize 0.4 8  rotate 0.6 9
        solarize 0.6 5  autocontrast 0.6 0
        equalize 0.8 0  equalize 0.6 0
        posterize 0.6 7  posterize 0.6 6
        equalize 0.4 0  solarize 0.2 4
        equalize 0.4 0  rotate 0.8 8
        solarize 0.6 3  equalize 0.6 0
        posterize 0.8 5  equalize 1.0 0
        rotate 0.2 3  solarize 0.6 8
        equalize 0.6 0  posterize 0.4 6
        rotate 0.8 8  color 0.4 0
        rotate 0.4 9  equalize 0.6 0
        equalize 0.0 0  equalize 0.8 0
        invert 0.6 0  equalize 1.0 0
        color 0.6 4  contrast 1.0 8
        rotate 0.8 8  color 1.0 2
        color 0.8 8  solarize 0.8 7
        sharpness 0.4 7  invert 0.6 0
        shear_x 0.6 5  equalize 1.0 0
        color 0.4 0  equalize 0.6 0
        equalize 0.4 0  solarize 0.2 4
        solarize 0.6 5  autocontrast 0.6 0
        invert 0.6 0  equalize 1.0 0
        color 0.6 4  contrast 1.0 8
        equalize 0.8 0  equalize 0.6 0
    """,
}


def operations_of(num_ops: int, magnitude: int, images: Tensor, generator: Generator) -> Tensor:
    """Apply operations after each other, all with the strength of one bin: RandAugment."""
    bins = torch.full((len(images),), magnitude, device=images.device)
    for _ in range(num_ops):
        images = _random_operation(images, generator, RAND, bins)
    return images


def wide_operation(images: Tensor, generator: Generator) -> Tensor:
    """Apply one operation with the strength of a bin that is drawn: TrivialAugment."""
    return _random_operation(images, generator, TRIVIAL, _whole_numbers(images, generator, 0, TRIVIAL.bins - 1))


def follow(policy: str, images: Tensor, generator: Generator) -> Tensor:
    """Draw a line of the policy for each image, and apply its two operations with their probabilities."""
    operations, probabilities, bins = _policy(policy, images.device)
    line = _whole_numbers(images, generator, 0, len(operations) - 1)
    for place in (0, 1):
        acts = torch.rand(len(images), generator=generator, device=images.device) < probabilities[line, place]
        operation = torch.where(acts, operations[line, place], 0)
        images = _operated(images, generator, AUTO, operation, bins[line, place])
    return images


def chain(images: Tensor, generator: Generator, severity: int, depth: int | None, all_ops: bool) -> Tensor:
    """Apply `depth` operations after each other, or 1 to 3 as drawn for each image, of the first `severity` bins."""
    space = MIX if all_ops else MIX_WITHOUT_BLENDS
    lengths = _whole_numbers(images, generator, 1, 3) if depth is None else None
    for step in range(depth or 3):
        bins = _whole_numbers(images, generator, 0, severity - 1)
        acts = None if lengths is None else step < lengths
        images = _random_operation(images, generator, space, bins, acts, "bilinear")
    return images


def _random_operation(
    images: Tensor, generator: Generator, space: Space, bins: Tensor, acts: Tensor | None = None, mode: str = "nearest"
) -> Tensor:
    """Change each image by an operation that is drawn, with the strength of its bin [N], where it `acts` [N]."""
    indices = _indices(space, images.device)
    operation = indices[_whole_numbers(images, generator, 0, len(indices) - 1)]
    operation = operation if acts is None else torch.where(acts, operation, 0)
    return _operated(images, generator, space, operation, bins, mode)


def _operated(
    images: Tensor, generator: Generator, space: Space, operation: Tensor, bins: Tensor, mode: str = "nearest"
) -> Tensor:
    """Change each image by its operation [N], with the strength of its bin [N] in a direction that is drawn."""
    height, width = images.shape[2:]
    magnitude = magnitudes(space, height, width, images.device)[operation, bins]
    signed = (operation >= FIRST_SIGNED) & (operation <= LAST_SIGNED)
    reverse = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return operate(images, operation, torch.where(signed & reverse, -magnitude, magnitude), mode)


def _whole_numbers(images: Tensor, generator: Generator, low: int, high: int) -> Tensor:
    """Return [N] numbers from `low` to `high`, both included, one for each image."""
    return torch.randint(low, high + 1, (len(images),), generator=generator, device=images.device)


# Kept for each device: a copy to a GPU in each step would be none that a CUDA graph can hold.
@cache
def magnitudes(space: Space, height: int, width: int, device: torch.device) -> Tensor:
    """Return the strengths [operations, bins], in the order of NAMES."""
    largest = {"shear_x": space.shear, "shear_y": space.shear, "rotate": space.rotate}
    for name, side in (("translate_x", width), ("translate_y", height)):
        largest[name] = space.translate * side if space.translate < 1 else space.translate
    largest |= dict.fromkeys(BLENDS, space.blend)
    rows = [torch.linspace(0, largest.get(name, 0.0), space.bins) for name in NAMES]
    rows[NAMES.index("posterize")] = torch.linspace(space.posterize[0], space.posterize[1], space.bins).round()
    rows[NAMES.index("solarize")] = torch.linspace(1, 0, space.bins)
    return torch.stack(rows).to(device)


@cache
def _indices(space: Space, device: torch.device) -> Tensor:
    return torch.tensor([NAMES.index(name) for name in space.operations]).to(device)


@cache
def _policy(name: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return operations, probabilities and bins [lines, 2] of a policy."""
    words = [line.split() for line in POLICIES[name].split("\n") if line.strip()]
    operations = torch.tensor([[NAMES.index(line[place]) for place in (0, 3)] for line in words])
    probabilities = torch.tensor([[float(line[place]) for place in (1, 4)] for line in words])
    bins = torch.tensor([[int(line[place]) for place in (2, 5)] for line in words])
    return operations.to(device), probabilities.to(device), bins.to(device)
