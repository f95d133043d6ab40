"""Preprocessing against NumPy, on the training split alone; a network that is loaded computes the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, tiny_images
from networks import composed
from torchvision.transforms import Normalize, ToTensor

from trainer.config.own import read, using
from trainer.data.images import Images
from trainer.data.statistics import bounds, pixel_statistics, statistics
from trainer.errors import ConfigError
from trainer.techniques.preprocessing import fixed, whiten
from trainer.training.build import build_trainer
from trainer.training.network import build_model, first_network

SHAPE = (3, 5, 4)


def images_of(kind, count=300):
    """Bytes, or the same as floats in another unit."""
    images = tiny_images(count, SHAPE)
    return images if kind == "bytes" else Images(images.pixels.float() * 3 - 100, images.labels, images.classes)


def by_channel(x):
    return x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)


def ranged(x):
    low, high = x.min((0, 2, 3), keepdims=True), x.max((0, 2, 3), keepdims=True)
    return (2 * x - low - high) / (high - low)


REFERENCES = {
    "standardize": lambda x: (x - by_channel(x)[0]) / by_channel(x)[1],
    "center": lambda x: x - by_channel(x)[0],
    "scale": lambda x: x / by_channel(x)[1],
    "scale preprocessing.by=range": ranged,
    "none": lambda x: x,
    "fixed preprocessing.mean=[0.1,0.2,0.3] preprocessing.std=[2.0]": lambda x: (
        (x - np.array([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)) / 2
    ),
    "per_pixel": lambda x: (x - x.mean(0)) / (x - x.mean(0)).std((0, 2, 3), keepdims=True),
    "per_pixel preprocessing.deviation=pixel": lambda x: (x - x.mean(0)) / x.std(0),
    "per_pixel preprocessing.deviation=none": lambda x: x - x.mean(0),
}


def prepared(words, images):
    settings = f"preprocessing={words}".split()
    return build_model(composed("model=mlp", "model.hidden=[4]", *settings), images)[0]


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("words", REFERENCES)
def test_pixels_become_what_numpy_computes(words, kind):
    images = images_of(kind)
    values = images.pixels.double().numpy() / (255 if kind == "bytes" else 1)
    layer, expected = prepared(words, images), torch.from_numpy(REFERENCES[words](values)).float()
    torch.testing.assert_close(layer(images.pixels), expected, rtol=2e-5, atol=2e-5)
    if kind == "bytes":
        torch.testing.assert_close(layer(images.pixels / 255), expected, rtol=2e-5, atol=2e-5)


def test_fixed_is_torchvision_s_normalize():
    picture = tiny_images(1, SHAPE).pixels
    layer = fixed(SHAPE, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    expected = Normalize((0.5, 0.4, 0.3), (0.5, 0.2, 0.1))(ToTensor()(picture[0].permute(1, 2, 0).numpy()))
    torch.testing.assert_close(layer(picture)[0], expected)


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("form", ["zca", "pca"])
def test_whitened_training_images_have_the_unit_matrix_as_their_covariance(form, kind):
    images = images_of(kind)
    values = (
        prepared(f"whiten preprocessing.eps=0 preprocessing.kind={form}", images)(images.pixels).flatten(1).double()
    )
    torch.testing.assert_close(values.mean(0), torch.zeros(60).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(values.T.cov(correction=0), torch.eye(60).double(), rtol=0, atol=1e-3)


def test_whitening_is_that_of_the_singular_values_and_a_share_of_the_variance_is_added():
    images = images_of("bytes")
    x = images.pixels.double().flatten(1).numpy() / 255
    x -= x.mean(0)
    _, singular, directions = np.linalg.svd(x, full_matrices=False)
    variances = singular**2 / len(x)
    rotated = x @ directions.T / np.sqrt(variances + 0.5 * variances.mean())
    zca = prepared("whiten preprocessing.eps=0.5", images)(images.pixels).flatten(1)
    torch.testing.assert_close(zca, torch.from_numpy(rotated @ directions).float(), rtol=1e-4, atol=1e-4)
    pca = prepared("whiten preprocessing.eps=0.5 preprocessing.kind=pca", images)
    signs = np.sign(directions[np.arange(60), np.abs(directions).argmax(1)])
    expected = torch.from_numpy(rotated * signs).float()
    torch.testing.assert_close(pca(images.pixels).flatten(1), expected, rtol=1e-4, atol=1e-4)


def test_a_direction_that_does_not_vary_becomes_zero_and_a_constant_pixel_is_not_divided():
    images = images_of("bytes", 20)  # of 60 directions at most 19 vary
    values = prepared("whiten preprocessing.eps=0 preprocessing.kind=pca", images)(images.pixels).flatten(1)
    assert values.isfinite().all() and values[:, 19:].abs().max() < 1e-3
    flat = Images(torch.full((4, 1, 2, 2), 7, dtype=torch.uint8), torch.zeros(4).long(), ("a",))
    assert pixel_statistics(flat)[1].unique().tolist() == statistics(flat)[1].tolist() == [1.0]
    assert [bound.tolist() for bound in bounds(flat)] == [[pytest.approx(7 / 255)]] * 2


@pytest.mark.parametrize("words", ["standardize", "center", "scale", "per_pixel", "whiten"])
def test_images_that_are_kept_for_validation_change_nothing(words):
    """All share one tensor of pixels; only the rows to train on count."""
    images, other = tiny_images(60, SHAPE), tiny_images(60, SHAPE)
    other.storage[:20] = 255 - other.storage[:20]
    states = [prepared(words, each.select(torch.arange(20, 60))).state_dict() for each in (images, other)]
    assert states[0] and all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    everything = prepared(words, other).state_dict()
    assert not all(torch.equal(value, everything[name]) for name, value in states[0].items())


@pytest.mark.parametrize("words", [*REFERENCES, "whiten"])
def test_a_network_that_is_loaded_or_built_anew_prepares_pixels_as_before(words):
    images, settings = tiny_images(60, SHAPE), f"preprocessing={words}".split()
    run = composed("model=mlp", "model.hidden=[4]", *settings)
    saved, other = build_model(run, images), build_model(run, tiny_images(60, SHAPE, seed=1))
    expected = saved(images.pixels)
    assert {"0.mean", "0.std"} <= saved.state_dict().keys()
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(images.pixels), expected)
    assert torch.equal(first_network(run, tiny_images(60, SHAPE, seed=1), saved[0])(images.pixels), expected)


def test_numbers_for_other_channels_and_large_images_are_refused():
    with pytest.raises(ConfigError, match=r"^preprocessing.mean lists 2 numbers, and the images have 3 channels: one"):
        fixed(SHAPE, mean=(0.1, 0.2))
    with pytest.raises(
        ConfigError, match=r"^preprocessing=whiten needs images of at most 4096 values, and 3×64×64 are"
    ):
        whiten((3, 64, 64))


def test_own_preprocessing_that_changes_the_shape_is_refused_before_the_run(in_empty_folder):
    Path("mine").mkdir()
    Path("mine/preprocessing.py").write_text("from torch import nn\n\n\ndef half(shape):\n    return nn.MaxPool2d(2)\n")
    images = Images(torch.rand(40, 1, 8, 8), torch.arange(40) % 2, ("a", "b"))
    with using([read("mine", ["preprocessing"])]), pytest.raises(ConfigError) as caught:
        build_trainer(compose(["model=mlp", "preprocessing=half"])[0], images, None, torch.device("cpu"))
    assert str(caught.value) == (
        "mine/preprocessing.py: preprocessing=half returned [2, 1, 4, 4] for 2 images, where [2, 1, 8, 8] is expected"
    )
