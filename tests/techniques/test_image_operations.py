"""Each operation on a batch against torchvision's kernel on image by image: bytes to the bit, floats to rounding."""

import math

import pytest
import torch
from test_augmentation import random_images
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from trainer.techniques.images import image_operations as operations

# Strengths beyond all that the policies draw; an angle at which pixels lie between others, quarter turns, a half turn.
SHIFTS = (-32.0, -9.97, -0.4, 0.0, 1.0, 2.8, 15.0)
SHEARS = (-0.99, -0.3, -0.01, 0.0, 0.09, 0.297, 0.66)
FACTORS = (-0.99, -0.9, -0.27, 0.0, 0.03, 0.54, 0.99)
STRENGTHS = {
    "identity": (0.0,),
    "shear_x": SHEARS,
    "shear_y": SHEARS,
    "translate_x": SHIFTS,
    "translate_y": SHIFTS,
    "rotate": (-135.0, -90.0, -30.0, -9.0, 0.0, 4.5, 45.0, 90.0, 180.0),
    "brightness": FACTORS,
    "color": FACTORS,
    "contrast": FACTORS,
    "sharpness": FACTORS,
    "posterize": tuple(map(float, range(9))),
    "solarize": (0.0, 1 / 3, 0.5, 0.7, 128 / 255, 1.0),
    "autocontrast": (0.0,),
    "equalize": (0.0,),
    "invert": (0.0,),
}
SHAPES = [(3, 32, 32), (1, 32, 32), (3, 8, 8), (1, 12, 20), (3, 2, 5)]


def one(name, image, strength, mode):
    """Return torchvision's result for one image, as its AutoAugment calls the kernels."""
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    degrees, shift = math.degrees(math.atan(strength)), int(strength)
    white = 255.0 if image.dtype == torch.uint8 else 1.0

    def affine(**changed):
        return vision.affine(image, **{**still, **changed}, interpolation=mode)

    return {
        "identity": lambda: image,
        "shear_x": lambda: affine(shear=[degrees, 0.0], center=[0, 0]),
        "shear_y": lambda: affine(shear=[0.0, degrees], center=[0, 0]),
        "translate_x": lambda: affine(translate=[shift, 0]),
        "translate_y": lambda: affine(translate=[0, shift]),
        "rotate": lambda: vision.rotate(image, strength, interpolation=mode),
        "brightness": lambda: vision.adjust_brightness(image, 1.0 + strength),
        "color": lambda: vision.adjust_saturation(image, 1.0 + strength),
        "contrast": lambda: vision.adjust_contrast(image, 1.0 + strength),
        "sharpness": lambda: vision.adjust_sharpness(image, 1.0 + strength),
        "posterize": lambda: vision.posterize(image, int(strength)),
        "solarize": lambda: vision.solarize(image, white * strength),
        "autocontrast": lambda: vision.autocontrast(image),
        "equalize": lambda: vision.equalize(image),
        "invert": lambda: vision.invert(image),
    }[name]()


def pictures(count, shape, kind):
    """Return noise, smooth images of few values, and one of a single value; channels-last as a run has them."""
    images = random_images(count, shape)
    smooth = torch.randn(images[1::2].shape, generator=torch.Generator().manual_seed(2)).cumsum(-1)
    images[1::2] = (smooth * 9 + 128).clamp(40, 200).to(torch.uint8)
    images[-1] = 77
    images = images if kind == "bytes" else images / 255
    return images.contiguous(memory_format=torch.channels_last)


def assert_as_torchvisions(result, expected):
    """Bytes are equal, except for one level in few pixels, where another processor sums in another order."""
    if result.dtype == torch.uint8:
        off = (result.int() - expected.int()).abs()
        assert off.max() <= 1 and (off > 0).float().mean() < 0.002
    else:
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("name", operations.NAMES)
def test_an_operation_does_to_each_image_what_torchvision_does(name, kind):
    # As float32, which torchvision's tables hold: 1 − 0.99 is another number in double precision.
    strengths = torch.tensor((*STRENGTHS[name], STRENGTHS[name][0], STRENGTHS[name][-1])).tolist()
    for shape in SHAPES:
        images = pictures(len(strengths), shape, kind)
        kept = images.clone()
        for mode in ("nearest", "bilinear") if name in operations.GEOMETRIC else ("nearest",):
            index = torch.full((len(images),), operations.NAMES.index(name))
            results = operations.operate(images, index, torch.tensor(strengths), mode)
            assert results.dtype == images.dtype and torch.equal(images, kept)
            for image, result, strength in zip(images, results, strengths, strict=True):
                assert_as_torchvisions(result, one(name, image, strength, InterpolationMode(mode)))


@pytest.mark.parametrize("everywhere", [False, True])
def test_each_image_of_a_batch_has_an_operation_of_its_own(monkeypatch, everywhere):
    """On a GPU all images are changed and the chosen ones kept, which gives the same."""
    if everywhere:
        monkeypatch.setattr(operations, "_is_in_memory", lambda images: False)
    names = [*operations.NAMES, *reversed(operations.NAMES)]
    strengths = torch.tensor([STRENGTHS[name][-2 % len(STRENGTHS[name])] for name in names]).tolist()
    images = pictures(len(names), (3, 12, 20), "bytes")
    index = torch.tensor([operations.NAMES.index(name) for name in names])
    results = operations.operate(images, index, torch.tensor(strengths))
    for image, result, name, strength in zip(images, results, names, strengths, strict=True):
        assert_as_torchvisions(result, one(name, image, strength, InterpolationMode.NEAREST))


@pytest.mark.parametrize("name", operations.NAMES)
def test_other_numbers_of_channels(name):
    """torchvision refuses them for colours; grey is then the mean of the channels, here all of one value."""
    strengths, gray = torch.tensor(STRENGTHS[name]), random_images(len(STRENGTHS[name]), (1, 9, 7))
    index = torch.full((len(gray),), operations.NAMES.index(name))
    expected = operations.operate(gray, index, strengths).expand(-1, 4, -1, -1)
    results = operations.operate(gray.expand(-1, 4, -1, -1), index, strengths)
    # In color 1 · x + s · x − s · x is cut off below x.
    assert (results.int() - expected.int()).abs().max() <= (name == "color")


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_blur_is_torchvisions_with_a_deviation_for_each_image(size, kind):
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0])
    for shape in [(3, 32, 32), (1, 8, 8), (4, 9, 5)]:
        images = pictures(4, shape, kind)
        results = operations.blurred(images, sigma, size)
        for image, result, deviation in zip(images, results, sigma.tolist(), strict=True):
            assert_as_torchvisions(result, vision.gaussian_blur(image, [size, size], [deviation, deviation]))


def test_blur_of_images_smaller_than_the_kernel():
    """Mirrored as often as needed: 1 2 | 1 2 … around two pixels, so that both come near their mean."""
    pair = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    result = operations.blurred(pair, torch.tensor([50.0]), 9)
    assert result.flatten().tolist() == pytest.approx([4 / 9, 5 / 9], abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_colorless_is_torchvisions_gray(channels):
    for kind in ("bytes", "floats"):
        images = pictures(4, (channels, 8, 8), kind)
        for image, result in zip(images, operations.colorless(images), strict=True):
            assert_as_torchvisions(result, vision.rgb_to_grayscale(image, channels))
    assert torch.equal(operations.colorless(torch.tensor([0.1, 0.3]).view(1, 2, 1, 1)).flatten(), torch.full((2,), 0.2))
