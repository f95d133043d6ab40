"""Shapes and parameter counts worked by hand; what the multi-task networks share and add."""

import copy

import pytest
import torch
from networks import network as built
from torch.nn import functional as F

from trainer.errors import ConfigError

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


@pytest.mark.parametrize("name", ["lecture_cnn", "mlp", "resnet18", "hard_sharing", "soft_sharing", "ensemble"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (2, 20, 28)])
@pytest.mark.parametrize("slots", [(), ("activation=maxout", "normalization=batch", "dropout=0.5")])
def test_any_channel_count_size_and_number_of_classes(name, shape, slots):
    small = ("model.width=8",) if name == "resnet18" else ()
    model = network(name, shape, CIFAR[:7], *slots, *small)
    assert model(torch.randint(0, 256, (5, *shape), dtype=torch.uint8)).shape == (5, 7)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match=r"the lecture's CNN needs images of at least 16×16 pixels, these have 15×40"):
        network("lecture_cnn", (3, 15, 40), CIFAR)


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
