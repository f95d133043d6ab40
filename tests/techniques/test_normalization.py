"""Normalization and dropout against the lecture's NumPy functions (note 000), and where they stand in the networks."""

import math

import numpy as np
import pytest
import torch
from networks import layers, network
from torch import nn

from trainer.errors import ConfigError
from trainer.techniques import normalization


def batch_norm(x, gamma, beta, running, training=True, momentum=0.1, eps=1e-5):
    """Note 000's batch_norm over axis 0, and the running averages, which the note's own function forgets to return.

    Its line reads `running_mean = momentum * mean + (1 - momentum) * running_mean`: new = m·batch + (1 − m)·old,
    which is torch's, factors not swapped (LECTURE.md says they are). What does differ: the note averages the
    biased variance, torch the unbiased one.
    """
    mean, variance = running
    if training:
        mean, variance = x.mean(0), x.var(0)
        running = momentum * mean + (1 - momentum) * running[0], momentum * variance + (1 - momentum) * running[1]
    return gamma * (x - mean) / np.sqrt(variance + eps) + beta, running


def with_parameters(layer):
    """The layer in double precision with a scale and a shift that leave a trace."""
    layer, draw = layer.double(), np.random.default_rng(1)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(draw.uniform(0.5, 2.0, layer.weight.shape)))
        layer.bias.copy_(torch.from_numpy(draw.normal(size=layer.bias.shape)))
    return layer, layer.weight.detach().numpy(), layer.bias.detach().numpy()


def features(shape, count=6, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, (count, *shape))


def channels_last(x):
    """[N, C, H, W] → [N·H·W, C]: each pixel is one more member of the batch."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 0.5}], ids=["lecture's defaults", "others"])
@pytest.mark.parametrize("shape", [(5,), (3, 4, 2)], ids=str)
def test_batch_normalization_is_note_000s(shape, options):
    """Three training batches, then evaluation with what was gathered; the unbiased variance put in by hand."""
    layer, gamma, beta = with_parameters(normalization.batch(shape, **options))
    mean, variance, momentum = np.zeros(shape[0]), np.ones(shape[0]), options.get("momentum", 0.1)
    for seed in range(3):
        x = features(shape, seed=seed)
        rows = channels_last(x)
        y, (mean, _) = batch_norm(rows, gamma, beta, (mean, variance), **options)
        variance = (1 - momentum) * variance + momentum * rows.var(0, ddof=1)
        measured = layer(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(channels_last(measured), y, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, variance, rtol=1e-12)
    layer.eval()
    x = features(shape, count=1)
    y, _ = batch_norm(channels_last(x), gamma, beta, (mean, variance), training=False, **options)
    np.testing.assert_allclose(channels_last(layer(torch.from_numpy(x)).detach().numpy()), y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)  # evaluation gathers nothing


def test_running_averages_by_hand():
    """A batch of 0 and 20: mean 10, biased variance 100, unbiased 200; m = 0.1 of it joins 0.9 of the old."""
    layer, x = normalization.batch((1,)), np.array([[0.0], [20.0]])
    layer(torch.from_numpy(x).float())
    _, (note_mean, note_variance) = batch_norm(x, 1.0, 0.0, (np.zeros(1), np.ones(1)))
    assert layer.running_mean.item() == pytest.approx(0.9 * 0 + 0.1 * 10) == note_mean.item()
    assert note_variance.item() == pytest.approx(0.9 * 1 + 0.1 * 100)
    assert layer.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 200)
    # Swapped factors would leave 9 and 90.1 after one batch.
    assert note_mean.item() != pytest.approx(0.1 * 0 + 0.9 * 10)


@pytest.mark.parametrize("shape", [(7,), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_layer_normalization_takes_all_features_of_one_image(shape, eps):
    layer, gamma, beta = with_parameters(normalization.layer(shape, eps=eps))
    assert gamma.shape == shape
    x, axes = features(shape), tuple(range(1, len(shape) + 1))
    y = gamma * (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps) + beta
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), y, rtol=1e-9, atol=1e-12)
    alone = layer.eval()(torch.from_numpy(x[2:3])).detach()
    np.testing.assert_allclose(alone[0], y[2], rtol=1e-9, atol=1e-12)  # the others of its batch do not matter


@pytest.mark.parametrize(("shape", "groups"), [((6,), 3), ((4, 3, 2), 2), ((4, 3, 2), 4)], ids=str)
def test_group_normalization_takes_groups_of_channels_of_one_image(shape, groups):
    layer, gamma, beta = with_parameters(normalization.group(shape, num_groups=groups, eps=0.01))
    x = features(shape)
    grouped = x.reshape(len(x), groups, -1)
    grouped = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 0.01)
    column = (-1, *[1] * (len(shape) - 1))
    y = gamma.reshape(column) * grouped.reshape(x.shape) + beta.reshape(column)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), y, rtol=1e-9, atol=1e-12)


def test_groups_must_divide_the_channels():
    with pytest.raises(ConfigError, match=r"normalization\.num_groups=4: must divide the layer's 6 channels"):
        normalization.group((6, 2, 2), num_groups=4)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_instance_normalization_takes_the_places_of_a_channel_of_one_image(eps):
    layer, gamma, beta = with_parameters(normalization.instance((3, 4, 2), eps=eps))
    x = features((3, 4, 2))
    scaled = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + eps)
    y = gamma.reshape(-1, 1, 1) * scaled + beta.reshape(-1, 1, 1)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.eval()(torch.from_numpy(x[2:3])).detach(), y[2:3], rtol=1e-9, atol=1e-12)
    assert normalization.instance((5,)) is None and normalization.instance((5, 1, 1)) is None


@pytest.mark.parametrize("shape", [(7,), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_rms_normalization_divides_by_the_root_of_the_mean_square(shape, eps):
    layer = normalization.rms(shape, eps=eps).double()
    gamma, x = np.random.default_rng(1).uniform(0.5, 2.0, shape), features(shape)
    layer.weight.data.copy_(torch.from_numpy(gamma))
    y = gamma * x / np.sqrt((x**2).mean(tuple(range(1, x.ndim)), keepdims=True) + eps)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("arguments", [(), ("model=resnet18", "model.width=2")], ids=str)
def test_weight_normalization_changes_every_layer_and_begins_as_without(arguments):
    """Also those of shortcuts and the last one. The lengths are learned."""
    model, without = network(*arguments, "normalization=weight"), network(*arguments)
    kinds = [type(layer) for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert not {nn.Conv2d, nn.Linear} & {*kinds}
    images = torch.randint(0, 256, (4, 3, 32, 32)).to(torch.uint8)
    torch.testing.assert_close(model(images), without(images), rtol=1e-4, atol=1e-5)
    model(images).square().sum().backward()
    lengths = [parameter for name, parameter in model.named_parameters() if name.endswith("length")]
    assert len(lengths) == len(kinds)
    assert all(length.grad.abs().max() > 0 for length in lengths)


MLP = ("model=mlp", "model.hidden=[8,4]")


def kinds(model):
    return [type(layer).__name__ for layer in layers(model)]


def test_where_normalization_and_dropout_stand():
    """LECTURE.md: convolution → pool → normalization → ReLU; linear → normalization → ReLU; dropout before a linear."""
    convolution = ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    hidden = ["Dropout", "Linear", "BatchNorm1d", "ReLU"]
    cnn = network("normalization=batch", "dropout=0.5")
    assert kinds(cnn) == [*convolution, *convolution, "Flatten", *hidden, "Dropout", "Linear"]
    assert [layer.p for layer in layers(cnn) if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert [layer.num_features for layer in layers(cnn) if hasattr(layer, "num_features")] == [6, 16, 128]

    perceptron = network(*MLP, "normalization=batch", "dropout=0.5", shape=(1, 4, 4))
    assert kinds(perceptron) == ["Flatten", *hidden[1:], *hidden, "Dropout", "Linear"]

    plain = network()
    assert kinds(plain) == ["Conv2d", "MaxPool2d", "ReLU"] * 2 + ["Flatten", "Linear", "ReLU", "Linear"]
    assert sum(parameter.numel() for parameter in plain.parameters()) == 55_490


def dropout(x, mask, p):
    """Note 000's dropout, for a given mask. (Note 003's class keeps a unit where r < p: with p instead of 1 − p.)"""
    return x * mask / (1 - p)


def dropout_layer(p):
    return next(layer for layer in layers(network(*MLP, f"dropout={p}")) if isinstance(layer, nn.Dropout))


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_is_inverted(p):
    """What is kept is scaled by 1/(1 − p), so that the expectation stays; both within four standard errors."""
    layer, count = dropout_layer(p), 200_000
    x = torch.from_numpy(features((count,), count=1)[0])
    torch.manual_seed(0)
    y = layer(x)
    mask = (y != 0).numpy()
    np.testing.assert_allclose(y, dropout(x.numpy(), mask, p), rtol=1e-12)
    assert abs(mask.mean() - (1 - p)) < 4 * math.sqrt(p * (1 - p) / count)
    error = x.square().mean().sqrt().item() * math.sqrt(p / (1 - p) / count)  # of mean(y − x), given x
    assert abs((y - x).mean().item()) < 4 * error


def test_dropout_draws_anew_and_gives_the_gradient_its_mask():
    torch.manual_seed(0)
    layer, x = dropout_layer(0.5), torch.ones(1000, requires_grad=True)
    first, second = layer(x), layer(x)
    assert 400 < int((first != second).sum()) < 600
    first.sum().backward()
    assert torch.equal(x.grad, first.detach())


@pytest.mark.parametrize("arguments", [(), MLP], ids=["lecture_cnn", "mlp"])
def test_evaluation_is_deterministic_and_drops_nothing(arguments):
    """Two passes agree in evaluation mode and not in training mode; without dropout layers the logits are the same."""
    model, images = network(*arguments, "dropout=0.5"), torch.rand(4, 3, 32, 32)
    torch.manual_seed(0)
    assert not torch.equal(model(images), model(images))
    logits = model.eval()(images)
    assert torch.equal(logits, model(images))
    rest = nn.Sequential(model[0], *[layer for layer in layers(model) if not isinstance(layer, nn.Dropout)])
    assert torch.equal(logits, rest(images))


def test_batch_normalization_in_evaluation_does_not_see_the_batch():
    model, draw = network("normalization=batch").double(), torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 32, 32, generator=draw, dtype=torch.float64)
    in_training = model(images)
    together = model.eval()(images)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)
    assert (in_training - together).abs().max() > 0.1
