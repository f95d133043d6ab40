"""Formulas of the examples before the network sees them. image: [channels, height, width]."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import on
from trainer.lecture.formulas.rule import Compare, Rule


def standardize(x, training):
    mean = training.mean(axis=0)  # of each feature
    std = training.std(axis=0)
    return (x - mean) / std


def standardize_torch(x, training):
    mean = training.mean(dim=0)
    std = training.std(dim=0, correction=0)
    return (x - mean) / std


def flip(image, r):
    return image[:, :, ::-1] if r < 0.5 else image


def flip_torch(image, r):
    return image.flip(dims=[2]) if r < 0.5 else image


def crop(image, top, left, padding=4):
    _, H, W = image.shape
    border = (padding, padding)
    padded = np.pad(image, ((0, 0), border, border))
    return padded[:, top : top + H, left : left + W]


def crop_torch(image, top, left, padding=4):
    _, H, W = image.shape
    padded = torch.nn.functional.pad(image, [padding] * 4)
    return padded[:, top : top + H, left : left + W]


def affine(image, matrix):
    H, W = image.shape
    y, x = np.mgrid[:H, :W]
    x, y = (2 * x + 1) / W - 1, (2 * y + 1) / H - 1
    x, y = np.tensordot(matrix, [x, y, np.ones((H, W))], 1)
    i = np.rint(((y + 1) * H - 1) / 2).astype(int)
    j = np.rint(((x + 1) * W - 1) / 2).astype(int)
    inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
    return np.where(inside, image[i % H, j % W], 0)


def affine_torch(image, matrix):
    F, image = torch.nn.functional, image[None, None]
    size, corners = image.shape, {"align_corners": False}
    grid = F.affine_grid(matrix[None], size, **corners)
    out = F.grid_sample(image, grid, "nearest", **corners)
    return out[0, 0]


def mixup(x, y, order, lam):
    x = lam * x + (1 - lam) * x[order]
    y = lam * y + (1 - lam) * y[order]
    return x, y


def mixup_torch(x, y, order, lam):
    # lam = torch.distributions.Beta(0.2, 0.2).sample()
    # order = torch.randperm(len(x))
    x = torch.lerp(x[order], x, lam)
    y = torch.lerp(y[order], y, lam)
    return x, y


def cutout(image, row, column, size=8):
    image, half = image.copy(), size // 2
    top, left = max(0, row - half), max(0, column - half)
    image[:, top : row + half, left : column + half] = 0
    return image


def cutout_torch(image, row, column, size=8):
    rows = torch.arange(image.shape[1]) - row
    columns = torch.arange(image.shape[2]) - column
    half = size // 2
    down = (rows >= -half) & (rows < half)
    across = (columns >= -half) & (columns < half)
    return image.masked_fill(down[:, None] & across, 0)


def noise(image, z, std=0.05):
    # z = np.random.randn(*image.shape)
    return image + std * z


def noise_torch(image, z, std=0.05):
    # z = torch.randn_like(image)
    return torch.add(image, z, alpha=std)


def _image_and_place(last: int) -> Compare:
    return on(lambda rng: [rng.standard_normal((3, 32, 32)), *(int(place) for place in rng.integers(0, last, 2))])


def _turned(rng: np.random.Generator) -> np.ndarray:
    """Return a matrix [2, 3] that turns by up to 30 degrees, changes the size by up to a fifth, and shifts."""
    angle, size, shift = rng.uniform(-0.5, 0.5), rng.uniform(0.8, 1.2), rng.uniform(-0.2, 0.2, (2, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([turn / size, shift])


RULES = {
    "standardize": Rule(
        "Zero-centred and scaled data",
        "x̃ = (x − μ) / σ",
        "μ and σ of each feature come from the training examples, and serve for validation and test as well. Note "
        "000:184 takes 0.5 for both.",
        standardize,
        standardize_torch,
        on(lambda rng: [rng.standard_normal((8, 5)), 3 + 2 * rng.standard_normal((50, 5))]),
        "10 random sets",
    ),
    "flip": Rule(
        "Horizontal flip",
        "x̃[c, i, j] = x[c, i, W − 1 − j]  with chance 1/2",
        "r: a uniform random number, drawn anew for each image in each epoch.",
        flip,
        flip_torch,
        on(lambda rng: [rng.standard_normal((3, 32, 32)), rng.uniform()]),
        "10 random images",
    ),
    "crop": Rule(
        "Random crop",
        "x̃[c, i, j] = padded[c, top + i, left + j]",
        "padded: the image with a black border of 4 pixels; top and left are drawn from 0 … 8 (000:182).",
        crop,
        crop_torch,
        _image_and_place(9),
        "10 random images and places",
    ),
    "affine": Rule(
        "Rotation, shift and change of size",
        "x̃(p) = x(A·p + t)\nA = (1/s)·[cos φ, −sin φ; sin φ, cos φ]",
        "p: a pixel in coordinates from −1 to 1; φ: the angle, s: the size, t: the shift, drawn anew for each image "
        "in each epoch. The functions take the nearest pixel, the program a mean of the four around. Note 000:180 "
        "turns by up to 10 degrees.",
        affine,
        affine_torch,
        on(lambda rng: [rng.standard_normal((24, 32)), _turned(rng)]),
        "10 random images and changes",
    ),
    "mixup": Rule(
        "Mixup",
        "x̃ = λ·x + (1 − λ)·x′\nỹ = λ·y + (1 − λ)·y′  with λ ~ Beta(α, α)",
        "x′, y′: another example of the batch; y: 1 for the true class, else 0. Note 002:209 speaks of random "
        "blends and gives no formula.",
        mixup,
        mixup_torch,
        on(lambda rng: [rng.random((16, 5)), np.eye(10)[rng.integers(0, 10, 16)], rng.permutation(16), rng.beta(1, 1)]),
        "10 random batches",
    ),
    "cutout": Rule(
        "Cutout",
        "x̃[c, i, j] = 0  for −s/2 ≤ i − row < s/2\n              and −s/2 ≤ j − column < s/2,  else x",
        "s: the size; row and column are drawn from the whole image, so that the square may be cut by the border. "
        "Note 002:201 gives no size.",
        cutout,
        cutout_torch,
        _image_and_place(32),
        "10 random images and places",
    ),
    "noise": Rule(
        "Noise on the input",
        "x̃ = x + σ·z  with z ~ N(0, 1) for each pixel",
        "",
        noise,
        noise_torch,
        on(lambda rng: [rng.standard_normal((3, 8, 8)), rng.standard_normal((3, 8, 8))]),
        "10 random images",
    ),
}
