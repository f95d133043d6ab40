"""What is done to the examples before the network sees them. image: [channels, height, width]."""

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
    return torch.flip(image, dims=[2]) if r < 0.5 else image


def crop(image, top, left, padding=4):
    _, height, width = image.shape
    border = (padding, padding)
    padded = np.pad(image, ((0, 0), border, border))
    return padded[:, top : top + height, left : left + width]


def crop_torch(image, top, left, padding=4):
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image, [padding] * 4)
    return padded[:, top : top + height, left : left + width]


def affine(image, matrix):
    height, width = image.shape
    y, x = np.mgrid[:height, :width]
    x, y = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    x, y = np.tensordot(matrix, np.stack([x, y, np.ones_like(x)]), 1)
    column = np.rint(((x + 1) * width - 1) / 2).astype(int)
    row = np.rint(((y + 1) * height - 1) / 2).astype(int)
    inside = (row >= 0) & (row < height)
    inside = inside & (column >= 0) & (column < width)
    return np.where(inside, image[row % height, column % width], 0)


def affine_torch(image, matrix):
    F, size = torch.nn.functional, (1, 1, *image.shape)
    grid = F.affine_grid(matrix[None], size, align_corners=False)
    return F.grid_sample(
        image[None, None],
        grid,
        mode="nearest",
        align_corners=False,
    )[0, 0]


def mixup(x, y, order, lam):
    x = lam * x + (1 - lam) * x[order]
    y = lam * y + (1 - lam) * y[order]
    return x, y


def mixup_torch(x, y, order, lam):
    # lam = torch.distributions.Beta(0.2, 0.2).sample()
    # order = torch.randperm(len(x))
    return torch.lerp(x[order], x, lam), torch.lerp(y[order], y, lam)


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
    return image + std * z  # z = np.random.randn(*image.shape)


def noise_torch(image, z, std=0.05):
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
        "x̃ = (x − μ) / σ\n"
        "μ and σ of each feature come from the training examples, and serve for\n"
        "validation and test as well. Note 000:184 takes 0.5 for both.",
        standardize,
        standardize_torch,
        on(lambda rng: [rng.standard_normal((8, 5)), 3 + 2 * rng.standard_normal((50, 5))]),
        "10 random sets",
    ),
    "flip": Rule(
        "Horizontal flip",
        "x̃[c, i, j] = x[c, i, W − 1 − j]  with chance 1/2, else x̃ = x\n"
        "r: a uniform random number, drawn anew for each image in each epoch",
        flip,
        flip_torch,
        on(lambda rng: [rng.standard_normal((3, 32, 32)), rng.uniform()]),
        "10 random images",
    ),
    "crop": Rule(
        "Random crop",
        "x̃[c, i, j] = padded[c, top + i, left + j]\n"
        "padded: the image with a black border of 4 pixels; top and left are drawn from\n"
        "0 … 8 (000:182)",
        crop,
        crop_torch,
        _image_and_place(9),
        "10 random images and places",
    ),
    "affine": Rule(
        "Rotation, shift and change of size",
        "x̃(p) = x(A·p + t)  with  A = (1/s)·[cos φ, −sin φ; sin φ, cos φ]\n"
        "p: a pixel in coordinates from −1 to 1; φ: the angle, s: the size, t: the\n"
        "shift, drawn anew for each image in each epoch. The functions take the nearest\n"
        "pixel, the training here a mean of the four around. Note 000:180 turns by up to\n"
        "10 degrees.",
        affine,
        affine_torch,
        on(lambda rng: [rng.standard_normal((24, 32)), _turned(rng)]),
        "10 random images and changes",
    ),
    "mixup": Rule(
        "Mixup",
        "x̃ = λ·x + (1 − λ)·x′\n"
        "ỹ = λ·y + (1 − λ)·y′  with λ ~ Beta(α, α)\n"
        "x′, y′: another example of the batch; y: 1 for the true class, else 0.\n"
        "Note 002:209 speaks of random blends and gives no formula.",
        mixup,
        mixup_torch,
        on(lambda rng: [rng.random((16, 5)), np.eye(10)[rng.integers(0, 10, 16)], rng.permutation(16), rng.beta(1, 1)]),
        "10 random batches",
    ),
    "cutout": Rule(
        "Cutout",
        "x̃[c, i, j] = 0  for |i − row| and |j − column| within size / 2, else x\n"
        "row and column are drawn from the whole image, so that the square may be cut by\n"
        "the border. Note 002:201 gives no size.",
        cutout,
        cutout_torch,
        _image_and_place(32),
        "10 random images and places",
    ),
    "noise": Rule(
        "Noise on the input",
        "x̃ = x + σ·z  with z ~ N(0, 1) for each pixel",
        noise,
        noise_torch,
        on(lambda rng: [rng.standard_normal((3, 8, 8)), rng.standard_normal((3, 8, 8))]),
        "10 random images",
    ),
}
