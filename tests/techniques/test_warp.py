"""Rotation, translation and scaling against a bilinear resampling in NumPy, on images that are not square."""

import math

import numpy as np
import pytest
import torch
from test_augmentation import HEIGHT, WIDTH, apply, assert_uniform, hand_set, random_images, shifted
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision


def resampled(image, matrix, shift=(0.0, 0.0)):
    """The image whose pixel at p, in pixels from the centre, x to the right and y down, comes from matrix·p + shift.

    Bilinear between the four pixels around; black outside.
    """
    _, height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    from_x = matrix[0][0] * x + matrix[0][1] * y + shift[0] + (width - 1) / 2
    from_y = matrix[1][0] * x + matrix[1][1] * y + shift[1] + (height - 1) / 2
    total = np.zeros_like(image)
    for column in (np.floor(from_x), np.floor(from_x) + 1):
        for row in (np.floor(from_y), np.floor(from_y) + 1):
            weight = (1 - abs(from_x - column)) * (1 - abs(from_y - row))
            weight = weight * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            inside = row.clip(0, height - 1).astype(int), column.clip(0, width - 1).astype(int)
            total += weight * image[:, inside[0], inside[1]]
    return total


def assert_resampled(changed, images, matrices, shifts):
    for result, image, matrix, shift in zip(changed, images, matrices, shifts, strict=True):
        expected = resampled(image.double().numpy() / 255, matrix, shift)
        np.testing.assert_allclose(result, expected, rtol=0, atol=2e-5)


SHARES = [0.0, 0.3, 0.5, 0.9, 1.0]
STILL = [(0.0, 0.0)] * len(SHARES)


@pytest.mark.parametrize("degrees", [10.0, 180.0])
def test_rotation_resamples_a_turned_grid(monkeypatch, degrees):
    """Positive angles turn to the left, as torchvision's rotate does; angles are ±degrees at the ends."""
    hand_set(monkeypatch, SHARES)
    images = random_images(len(SHARES))
    changed, _ = apply("rotation", images, degrees=degrees)
    angles = [math.radians(degrees) * (2 * share - 1) for share in SHARES]
    turned = [((math.cos(a), -math.sin(a)), (math.sin(a), math.cos(a))) for a in angles]
    assert_resampled(changed, images, turned, STILL)
    for result, image, angle in zip(changed, images, angles, strict=True):
        theirs = vision.rotate(image / 255, math.degrees(angle), InterpolationMode.BILINEAR)
        torch.testing.assert_close(result, theirs, rtol=0, atol=1e-4)


def test_rotation_by_quarter_and_half_turns(monkeypatch):
    square = random_images(1, (3, 9, 9)) / 255
    hand_set(monkeypatch, 1.0)
    quarter, _ = apply("rotation", square, degrees=90.0)
    torch.testing.assert_close(quarter, square.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    oblong = random_images(1) / 255
    hand_set(monkeypatch, 0.0)
    half, _ = apply("rotation", oblong, degrees=180.0)
    torch.testing.assert_close(half, oblong.flip(2, 3), rtol=0, atol=1e-5)


def test_translation_by_whole_pixels(monkeypatch):
    """A quarter of 20 to the right is 5 pixels, a quarter of 12 upwards is 3; the second image goes the other way."""
    hand_set(monkeypatch, [1.0, 0.0, 0.5], [0.0, 1.0, 0.5])
    images = random_images(3)
    changed, _ = apply("translate", images, fraction=0.25)
    for result, image, (down, right) in zip(changed, images, [(-3, 5), (3, -5), (0, 0)], strict=True):
        expected = shifted(image.numpy(), down, right) / 255
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_translation_by_parts_of_a_pixel(monkeypatch):
    hand_set(monkeypatch, SHARES, SHARES[::-1])
    images = random_images(len(SHARES))
    changed, _ = apply("translate", images, fraction=0.13)
    shifts = [
        (-0.13 * WIDTH * (2 * right - 1), -0.13 * HEIGHT * (2 * down - 1))
        for right, down in zip(SHARES, SHARES[::-1], strict=True)
    ]
    assert_resampled(changed, images, [((1, 0), (0, 1))] * len(SHARES), shifts)


def test_scaling_enlarges_around_the_centre(monkeypatch):
    """A factor of 2 takes each pixel from half its distance to the centre, ½ from twice."""
    hand_set(monkeypatch, SHARES)
    images = random_images(len(SHARES))
    changed, _ = apply("scale", images, low=0.5, high=2.0)
    factors = [0.5 + 1.5 * share for share in SHARES]
    assert_resampled(changed, images, [((1 / f, 0), (0, 1 / f)) for f in factors], STILL)
    assert not changed[0, :, 0].any()  # at half its size the image has a black border
    assert changed[-1].min() >= 0 and changed[-1, :, 0].all()


def ramps(count=4000):
    """Images whose value is the column, in pixels from the centre: a resampled one tells where it came from."""
    return (torch.arange(9.0) - 4).expand(count, 1, 9, 9)


def test_angles_are_uniform_in_plus_minus_degrees():
    turned = apply("rotation", ramps(), classes=1, degrees=20.0)[0][:, 0]
    cosine, sine = (turned[:, 4, 5] - turned[:, 4, 3]) / 2, (turned[:, 3, 4] - turned[:, 5, 4]) / 2
    torch.testing.assert_close(cosine**2 + sine**2, torch.ones(4000), rtol=0, atol=1e-4)
    assert_uniform(torch.rad2deg(torch.atan2(sine, cosine)), -20.0, 20.0)


def test_shifts_are_uniform_and_independent():
    """Up to a fifth of 9 pixels; the correlation of right and down is 0 within four standard errors."""
    right = -apply("translate", ramps(), classes=1, fraction=0.2)[0][:, 0, 4, 4]
    down = -apply("translate", ramps().transpose(2, 3), classes=1, fraction=0.2)[0][:, 0, 4, 4]
    assert_uniform(right, -1.8, 1.8)
    assert_uniform(down, -1.8, 1.8)
    assert abs(torch.corrcoef(torch.stack([right, down]))[0, 1].item()) < 4 / math.sqrt(4000)


def test_factors_are_uniform_between_low_and_high():
    scaled = apply("scale", ramps(), classes=1, low=0.8, high=1.5)[0][:, 0]
    assert_uniform(2 / (scaled[:, 4, 5] - scaled[:, 4, 3]), 0.8, 1.5)
