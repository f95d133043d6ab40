"""The operations of AutoAugment and its relatives, for a whole batch with another strength for each image.

Images are [N, C, H, W], bytes 0–255 or floats 0–1, and keep their type. Bytes become those of torchvision's kernels
(checked with 0.29.1, the blends within one level); operations that torchvision has for 1 and 3 channels alone take
the mean of the channels for their grey. Places that no pixel is moved to become black.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
BLENDS = ("brightness", "color", "contrast", "sharpness")
NAMES = ("identity", *GEOMETRIC, *BLENDS, "posterize", "solarize", "autocontrast", "equalize", "invert")
# The strengths of these have a sign: to the left or to the right, darker or brighter.
FIRST_SIGNED, LAST_SIGNED = 1, len(GEOMETRIC) + len(BLENDS)


def operate(images: Tensor, operation: Tensor, magnitude: Tensor, mode: str = "nearest") -> Tensor:
    """Change each image by the operation of its index in NAMES.

    operation, magnitude: [N]. `mode`: the interpolation of geometric operations, nearest or bilinear.
    """
    moved = (operation > 0) & (operation <= len(GEOMETRIC))
    images = change(images, moved, partial(_moved, mode=mode), operation, magnitude)
    for index, name in enumerate(NAMES[len(GEOMETRIC) + 1 :], len(GEOMETRIC) + 1):
        images = change(images, operation == index, OPERATIONS[name], magnitude)
    return images


def change(images: Tensor, chosen: Tensor, function: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """Return the images, those that are chosen [N] replaced by function(images, *values), with values [N]."""
    if _is_in_memory(images):
        rows = chosen.nonzero().flatten()
        changed = function(images[rows], *(value[rows] for value in values)) if len(rows) else images[:0]
        return images.index_copy(0, rows, changed)
    # How many are chosen is known on the device alone: it changes all of them, and nobody waits for it.
    return torch.where(_each(chosen), function(images, *values), images)


def _is_in_memory(images: Tensor) -> bool:
    """Return whether a number of images can be read without waiting for a device."""
    return images.device.type == "cpu"


def _moved(images: Tensor, operation: Tensor, magnitude: Tensor, mode: str) -> Tensor:
    """Shear from the upper left corner, shift by whole pixels or rotate by degrees around the centre."""
    height, width = images.shape[2:]
    # In double precision: with an angle rounded to float32 some pixels would be taken from their neighbour's place.
    magnitude = magnitude if images.device.type == "mps" else magnitude.double()  # which has no double precision
    strength = {name: torch.where(operation == NAMES.index(name), magnitude, 0.0) for name in GEOMETRIC}
    shear_x, shear_y, angle = strength["shear_x"], strength["shear_y"], strength["rotate"].deg2rad()
    rows = [
        [angle.cos(), shear_x - angle.sin(), shear_x * height / 2 - strength["translate_x"].trunc()],
        [shear_y + angle.sin(), angle.cos(), shear_y * width / 2 - strength["translate_y"].trunc()],
    ]
    # From a place of the result to one of the source, both in pixels from the centre.
    matrix = torch.stack([torch.stack(row, 1) for row in rows], 1).float()
    down, across = (
        torch.linspace((1 - side) / 2, (side - 1) / 2, side, device=images.device) for side in images.shape[2:]
    )
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1).view(1, -1, 2)
    places = torch.cat([places, torch.ones_like(places[..., :1])], -1).expand(len(images), -1, -1)
    columns = [matrix[:, 0] / (width / 2), matrix[:, 1] / (height / 2)]
    grid = places.bmm(torch.stack(columns, 2)).view(-1, height, width, 2)
    moved = F.grid_sample(images.float(), grid, mode=mode, align_corners=False)
    return moved.round_().to(torch.uint8) if images.dtype == torch.uint8 else moved


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Multiply by 1 + strength [N]."""
    return _fitted(images * _each(1 + strength), images)


def color(images: Tensor, strength: Tensor) -> Tensor:
    """Move each pixel away from its own grey, or towards it if the strength [N] is negative."""
    return images if images.shape[1] == 1 else _blended(images, _whole(gray(images), images), strength)


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Move each pixel away from the mean grey of its image, or towards it if the strength [N] is negative."""
    return _blended(images, _whole(gray(images), images).mean((1, 2, 3), keepdim=True), strength)


def sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Move each pixel away from the mean around it, itself fivefold, or towards it; the border stays as it is."""
    if min(images.shape[2:]) <= 2:
        return images
    values = images.float()
    inner, rows = values[..., 1:-1, 1:-1], values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner) / 13
    smooth = smooth.round_() if images.dtype == torch.uint8 else smooth
    result = values.clone()
    result[..., 1:-1, 1:-1] = torch.addcmul(inner, smooth - inner, _each(-strength))
    return _fitted(result, images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits [N] of each value."""
    bits = _each(bits.int())
    if images.dtype == torch.uint8:
        return images & (256 - (1 << (8 - bits))).to(torch.uint8)
    levels = 1 << bits
    return torch.minimum((images * levels).floor_().clamp_(min=0), (levels - 1).float()) / levels


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from threshold [N] on, which is 1 for white."""
    white = 255 if images.dtype == torch.uint8 else 1
    return torch.where(images >= _each(white * threshold), invert(images), images)


def autocontrast(images: Tensor, _: Tensor | None = None) -> Tensor:
    """Stretch each channel so that its darkest value becomes black and its brightest white."""
    values, white = images.float(), 255 if images.dtype == torch.uint8 else 1
    low, high = values.amin((2, 3), keepdim=True), values.amax((2, 3), keepdim=True)
    flat = low == high
    step = torch.where(flat, 1.0, (high - low) * (1 / white))
    return _fitted((values - torch.where(flat, 0.0, low)) / step, images)


def equalize(images: Tensor, _: Tensor | None = None) -> Tensor:
    """Make the values of each channel about equally frequent, on 256 levels, by Pillow's rule."""
    if images.dtype != torch.uint8:
        return equalize((images.clamp(0, 1) * (256 - 1e-3)).to(torch.uint8)).float() / 255
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, pixels, torch.ones_like(pixels))
    brightest = counts.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - brightest) // 255  # pixels for each new level, the brightest ones aside
    below = counts.cumsum(2) - counts
    levels = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    equal = levels.gather(2, pixels).to(torch.uint8).view_as(images)
    return torch.where((step > 0)[..., None], equal, images)


def invert(images: Tensor, _: Tensor | None = None) -> Tensor:
    """Return the negative."""
    return (255 if images.dtype == torch.uint8 else 1) - images


def gray(images: Tensor) -> Tensor:
    """Return float [N, 1, H, W]: of three channels the luma with torchvision's weights, else their mean."""
    if images.shape[1] != 3:
        return images.float().mean(1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def colorless(images: Tensor) -> Tensor:
    """Return each pixel's own grey in all channels."""
    return gray(images).to(images.dtype).expand_as(images) if images.shape[1] > 1 else images


def blurred(images: Tensor, sigma: Tensor, size: int) -> Tensor:
    """Return the images under a Gaussian of `size` pixels a side with deviation sigma [N], mirrored at the border."""
    values, reach = images.float(), size // 2
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = (-(offsets / sigma[:, None]).square() / 2).softmax(1).view(len(images), size, 1, 1, 1)
    for dimension in (2, 3):
        last = images.shape[dimension] - 1
        places = torch.arange(-reach, last + 1 + reach, device=images.device).remainder(max(1, 2 * last))
        padded = values.index_select(dimension, torch.minimum(places, 2 * last - places).clamp_(min=0))
        values = padded.narrow(dimension, reach, last + 1) * weights[:, reach]
        for step in range(1, reach + 1):
            before, after = (padded.narrow(dimension, reach + side, last + 1) for side in (-step, step))
            values.addcmul_(before + after, weights[:, reach + step])
    return values.round_().to(torch.uint8) if images.dtype == torch.uint8 else values


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
    "invert": invert,
}


def _blended(images: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    """Return images + strength·(images − other), with the strength [N]."""
    # In this order and with one rounding at the end, as torchvision does: bytes are cut off, not rounded.
    return _fitted(torch.addcmul(images * _each(1 + strength), other, _each(-strength)), images)


def _fitted(values: Tensor, images: Tensor) -> Tensor:
    """Return the values in the range and the type of the images."""
    return values.clamp_(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else values.clamp_(0, 1)


def _whole(values: Tensor, images: Tensor) -> Tensor:
    return values.floor_() if images.dtype == torch.uint8 else values


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
