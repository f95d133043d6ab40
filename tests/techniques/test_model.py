"""Shapes and parameter counts worked by hand; what the multi-task networks share and add."""

import copy

import numpy as np
import pytest
import torch
from networks import composed
from networks import network as built
from torch import nn
from torch.nn import functional as F

from trainer.config.schema import techniques
from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.training.build import build_trainer
from trainer.training.network import build_model

CPU = torch.device("cpu")

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ANIMAL = torch.tensor([0, 0, 1, 1, 1, 1, 1, 1, 0, 0])


def network(name, shape, classes, *arguments):
    return built(f"model={name}", *arguments, shape=shape, classes=tuple(classes))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def conv(inputs, outputs, size, bias=True):
    return inputs * outputs * size * size + outputs * bias


def test_the_lecture_cnn_has_the_lectures_parameters():
    hand = conv(3, 6, 5) + conv(6, 16, 5) + (400 * 128 + 128) + (128 * 10 + 10)
    assert count(network("lecture_cnn", (3, 32, 32), CIFAR)) == hand == 55490
    assert count(network("lecture_cnn", (1, 28, 28), CIFAR)) == conv(1, 6, 5) + conv(6, 16, 5) + 256 * 128 + 128 + 1290


def test_the_mlp_by_hand():
    assert count(network("mlp", (1, 8, 8), CIFAR)) == (64 * 256 + 256) + (256 * 128 + 128) + (128 * 10 + 10)


def test_resnet18_by_hand():
    """Convolutions without bias, a scale and a shift a channel after each; three projections."""
    expected = conv(3, 64, 3, False) + 128
    inputs = 64
    for width in (64, 128, 256, 512):
        expected += conv(inputs, width, 3, False) + 3 * conv(width, width, 3, False) + 4 * 2 * width
        expected += (conv(inputs, width, 1, False) + 2 * width) if inputs != width else 0
        inputs = width
    expected += 512 * 10 + 10
    assert count(network("resnet18", (3, 32, 32), CIFAR, "normalization=batch")) == expected == 11173962


@pytest.mark.parametrize("whitening", ["true", "false"])
def test_resnet9_by_hand(whitening):
    """A stem of 64 channels, then 128, 256 and 512, with two more convolutions behind the first and the last."""
    expected = (conv(27, 64, 1, False) if whitening == "true" else conv(3, 64, 3, False)) + 128  # as many weights
    for inputs, width, more in ((64, 128, 2), (128, 256, 0), (256, 512, 2)):
        expected += conv(inputs, width, 3, False) + more * conv(width, width, 3, False) + (1 + more) * 2 * width
    expected += 512 * 10
    model = network("resnet9", (3, 32, 32), CIFAR, "normalization=batch", f"model.whitening={whitening}")
    assert count(model) == expected == 6573120


def test_resnet9_is_its_forward_pass_written_out():
    """Pooling before the normalization, sums without an activation behind them, the largest place of each channel."""
    model = network("resnet9", (3, 16, 24), CIFAR, "model.width=4", "normalization=batch", "activation=gelu")
    kernels = iter([layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)])
    images = torch.rand((6, 3, 16, 24), generator=torch.Generator().manual_seed(0))

    def block(features, pooling=1):
        features = F.max_pool2d(F.conv2d(features, next(kernels), padding="same"), pooling)
        variance, mean = torch.var_mean(features, (0, 2, 3), correction=0, keepdim=True)
        return F.gelu((features - mean) / (variance + 1e-5).sqrt())

    features = block(block(F.conv2d(model[0](images), model[1][0].filters, padding=1)), pooling=2)
    features = features + block(block(features))
    features = block(block(features, pooling=2), pooling=2)
    features = features + block(block(features))
    expected = features.amax((2, 3)) @ next(kernels).T / 8
    torch.testing.assert_close(model.train()(images), expected, rtol=1e-4, atol=1e-5)
    assert next(kernels, None) is None


@pytest.mark.parametrize(
    "name", ["lecture_cnn", "mlp", "resnet18", "resnet9", "hard_sharing", "soft_sharing", "ensemble"]
)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (2, 20, 28)])
@pytest.mark.parametrize("slots", [(), ("activation=maxout", "normalization=batch", "dropout=0.5")])
def test_any_channel_count_size_and_number_of_classes(name, shape, slots):
    small = ("model.width=8",) if "width" in techniques("model")[name] else ()
    model = network(name, shape, CIFAR[:7], *slots, *small)
    assert model(torch.randint(0, 256, (5, *shape), dtype=torch.uint8)).shape == (5, 7)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match=r"model=lecture_cnn needs images of at least 16×16 pixels, these have 15×40"):
        network("lecture_cnn", (3, 15, 40), CIFAR)


def test_images_too_small_for_three_poolings_are_refused():
    with pytest.raises(ConfigError, match=r"model=resnet9 needs images of at least 8×8 pixels, these have 9×7"):
        network("resnet9", (3, 9, 7), CIFAR)


def photographs(count, shape):
    """Random images in which neighbours and channels resemble each other."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, shape[0], 4, 5), generator=draw)
    smooth = F.interpolate(coarse + coarse.mean(1, keepdim=True), shape[1:], mode="bilinear")
    pixels = (smooth + 0.2 * torch.rand((count, *shape), generator=draw)) * (255 / 2.2)
    return Images(pixels.to(torch.uint8), torch.arange(count) % 10, CIFAR)


@pytest.mark.parametrize("shape", [(3, 14, 20), (1, 16, 16)])
def test_patch_whitening_is_the_principal_components_of_numpy(shape):
    """Of all 3×3 patches, each divided by its deviation; the sign of a component is free."""
    images = photographs(70, shape)
    model = build_model(composed("model=resnet9", "model.width=2"), images)
    filters = model[1][0].filters.flatten(1).double().numpy()
    scaled = model[0](images.pixels).double().numpy()
    patches = np.lib.stride_tricks.sliding_window_view(scaled, (3, 3), axis=(2, 3))
    patches = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 9 * shape[0])
    variances, directions = np.linalg.eigh(np.cov(patches.T, bias=True))
    expected = (directions / np.sqrt(variances + 0.01)).T[::-1]
    signs = np.sign((filters * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(filters * signs, expected, rtol=1e-3, atol=1e-3)
    outputs = np.cov(patches @ filters.T, rowvar=False)
    shrunk = variances[::-1] / (variances[::-1] + 0.01)
    np.testing.assert_allclose(outputs, np.diag(shrunk), atol=2e-3)
    assert shrunk[0] > 0.99 and variances.max() / variances.min() > 20  # there was something to whiten


def test_patch_whitening_is_fixed_and_saved_and_of_the_training_images():
    images = photographs(70, (3, 14, 20))
    run = build_trainer(composed("model=resnet9", "model.width=2", "lr=0.1", "epochs=1"), images, None, CPU)
    whitening = run.model[1][0]
    before = whitening.filters.clone()
    list(run.train_loop())
    assert torch.equal(whitening.filters, before) and before.any()
    assert "1.0.filters" in run.model.state_dict()
    assert not any(parameter.shape == before.shape for parameter in run.model.parameters())
    fewer = build_model(composed("model=resnet9", "model.width=2"), images.select(torch.arange(35)))
    assert not torch.equal(fewer[1][0].filters, before)


def test_a_coarse_task_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match=r"not for T-shirt, Trouser, bag, …: choose another model or dataset"):
        network("hard_sharing", (3, 32, 32), ("T-shirt", "Trouser", "bag", "coat"))


def batch():
    draw = torch.Generator().manual_seed(0)
    return torch.rand((20, 3, 32, 32), generator=draw), torch.randint(0, 10, (20,), generator=draw)


def test_hard_sharing_gives_the_encoder_both_gradients():
    images, labels = batch()
    model = network("hard_sharing", (3, 32, 32), CIFAR, "model.coarse_weight=0.5")
    parts = model[1]

    def gradient(*losses):
        model.zero_grad()
        logits = model(images)
        named = {"fine": F.cross_entropy(logits, labels), "coarse": parts.auxiliary_loss(labels)}
        sum(named[name] for name in losses).backward()
        return next(parts.encoder.parameters()).grad.clone()

    fine, coarse, both = gradient("fine"), gradient("coarse"), gradient("fine", "coarse")
    torch.testing.assert_close(both, fine + coarse)
    assert fine.norm() > 0 and coarse.norm() > 0
    features = parts.encoder(model[0](images))
    by_hand = 0.5 * F.cross_entropy(parts.coarse(features), ANIMAL[labels])
    model(images)
    torch.testing.assert_close(parts.auxiliary_loss(labels), by_hand)


def test_the_coarse_task_of_digits_is_odd_or_even():
    model = network("hard_sharing", (1, 28, 28), tuple("0123456789"))
    assert model[1].coarse_of.argmax(1).tolist() == [0, 1] * 5


def test_mixed_labels_give_mixed_coarse_labels():
    images, labels = batch()
    model = network("hard_sharing", (3, 32, 32), CIFAR)
    model(images)
    plain = model[1].auxiliary_loss(labels)
    torch.testing.assert_close(model[1].auxiliary_loss(F.one_hot(labels, 10).float()), plain)


def test_soft_sharings_penalty_is_the_squared_distance():
    images, labels = batch()
    model = network("soft_sharing", (3, 32, 32), CIFAR, "model.strength=0.1", "model.coarse_weight=1e-9")
    parts = model[1]
    model(images)
    pairs = list(zip(parts.encoder.parameters(), parts.coarse_encoder.parameters(), strict=True))
    distance = sum(((one - other) ** 2).sum() for one, other in pairs)
    assert distance > 1  # the two start apart
    torch.testing.assert_close(parts.auxiliary_loss(labels), 0.1 * distance)
    parts.auxiliary_loss(labels).backward()
    one, other = pairs[0]
    torch.testing.assert_close(one.grad, 2 * 0.1 * (one - other).detach(), rtol=1e-4, atol=1e-6)


def test_the_coarse_head_is_left_out_of_evaluation():
    model = network("hard_sharing", (3, 32, 32), CIFAR).eval()
    model(batch()[0])
    assert model[1].coarse_logits is None


def test_the_members_of_an_ensemble_train_as_they_would_alone():
    """Three steps together, against three steps of each member by itself on the same batches."""
    images, labels = batch()
    together = network("ensemble", (3, 32, 32), CIFAR)[1]
    alone = copy.deepcopy(together.members)
    assert not torch.equal(next(alone[0].parameters()), next(alone[1].parameters()))
    optimizer = torch.optim.Adam(together.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (F.cross_entropy(together(images), labels) + together.auxiliary_loss(labels)).backward()
        optimizer.step()
    for member, same in zip(alone, together.members, strict=True):
        optimizer = torch.optim.Adam(member.parameters(), 0.01)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(member(images), labels).backward()
            optimizer.step()
        for one, other in zip(member.parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_ensemble_is_evaluated_by_the_mean_of_its_probabilities():
    model = network("ensemble", (3, 32, 32), CIFAR, "model.members=5")[1].eval()
    images = batch()[0]
    mean = torch.stack([member(images).softmax(1) for member in model.members]).mean(0)
    torch.testing.assert_close(model(images).softmax(1), mean)
