"""Rectangles of a random area, shape and place, one for each image of a batch."""

import math

import torch
from torch import Generator, Tensor

TRIES = 10


def random_rectangles(
    images: Tensor, generator: Generator, areas: tuple[float, float], ratios: tuple[float, float]
) -> Tensor:
    """Return [N, 1, H, W], true inside; shares of the area are uniform, ratios of height to width in their logarithm.

    A rectangle that reaches over the image is drawn again, after ten tries there is none: torchvision's RandomErasing.
    """
    (count, _, height, width), device = images.shape, images.device
    uniform = torch.rand((2, TRIES, count), generator=generator, device=device)
    area = height * width * (areas[0] + (areas[1] - areas[0]) * uniform[0])
    ratio = (math.log(ratios[0]) + math.log(ratios[1] / ratios[0]) * uniform[1]).exp()
    rows, columns = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (rows < height) & (columns < width)
    first = fits.int().argmax(0, keepdim=True)
    rows, columns = rows.gather(0, first).view(-1, 1), columns.gather(0, first).view(-1, 1)
    place = torch.rand((2, count, 1), generator=generator, device=device)
    top, left = (place[0] * (height - rows + 1)).floor(), (place[1] * (width - columns + 1)).floor()
    down, across = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (down >= top) & (down < top + rows) & fits.any(0).view(-1, 1)
    in_columns = (across >= left) & (across < left + columns)
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]
