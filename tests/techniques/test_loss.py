"""Each loss against torch's own or a formula in NumPy: its value, its gradient, and that of mixed labels."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainer.config.schema import techniques
from trainer.techniques import loss

IMAGES, CLASSES = 7, 4
LOGITS = 2 * torch.randn(IMAGES, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3])
MIXED = torch.rand(IMAGES, CLASSES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
MIXED /= MIXED.sum(1, keepdim=True)


def probability(logits, true):
    powers = np.exp(logits - logits.max())
    return powers[true] / powers.sum()


def one_hot(true):
    return np.eye(CLASSES)[true]


# name → options, the loss of one image (logits [K], its class) in NumPy, torch's own of the same
LOSSES = {
    "cross_entropy": ({}, lambda z, y: -np.log(probability(z, y)), nn.CrossEntropyLoss()),
    "focal": ({"gamma": 1.5}, lambda z, y: -((1 - probability(z, y)) ** 1.5) * np.log(probability(z, y)), None),
    "poly": ({"epsilon": -0.7}, lambda z, y: -np.log(probability(z, y)) - 0.7 * (1 - probability(z, y)), None),
    "mse": ({}, lambda z, y: np.mean((z - one_hot(y)) ** 2), lambda z, y: F.mse_loss(z, F.one_hot(y, CLASSES) * 1.0)),
    "mse of probabilities": (
        {"outputs": "probabilities"},
        lambda z, y: np.mean([(probability(z, k) - (k == y)) ** 2 for k in range(CLASSES)]),
        None,
    ),
    "hinge": (
        {"margin": 0.8},
        lambda z, y: sum(max(0, 0.8 - z[y] + z[k]) for k in range(CLASSES) if k != y) / CLASSES,
        nn.MultiMarginLoss(margin=0.8),
    ),
    "hinge of squares": (
        {"power": 2},
        lambda z, y: sum(max(0, 1 - z[y] + z[k]) ** 2 for k in range(CLASSES) if k != y) / CLASSES,
        nn.MultiMarginLoss(p=2),
    ),
}


def loss_of(name):
    options = LOSSES[name][0]
    return lambda logits, labels: getattr(loss, name.partition(" ")[0])(logits, labels, **options)


def value_and_gradient(function, labels):
    logits = LOGITS.clone().requires_grad_()
    value = function(logits, labels)
    value.backward()
    return value.item(), logits.grad


def test_there_is_a_formula_for_every_loss():
    assert {name.partition(" ")[0] for name in LOSSES} == set(techniques("loss"))


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_the_images_and_its_gradient(name):
    _, formula, theirs = LOSSES[name]
    value, gradient = value_and_gradient(loss_of(name), LABELS)

    def mean(logits):
        return np.mean([formula(row, int(label)) for row, label in zip(logits, LABELS, strict=True)])

    assert value == pytest.approx(mean(LOGITS.numpy()), rel=1e-12)
    differences, width = torch.zeros_like(LOGITS), 1e-6
    for place in np.ndindex(*LOGITS.shape):
        up, down = LOGITS.numpy().copy(), LOGITS.numpy().copy()
        up[place] += width
        down[place] -= width
        differences[place] = (mean(up) - mean(down)) / (2 * width)
    assert torch.allclose(gradient, differences, rtol=1e-6, atol=1e-8)
    if theirs:
        expected, torchs = value_and_gradient(theirs, LABELS)
        assert value == pytest.approx(expected, rel=1e-12) and torch.allclose(gradient, torchs, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_mixed_labels_of_whole_classes_are_those_classes(name):
    value, gradient = value_and_gradient(loss_of(name), LABELS)
    mixed, other = value_and_gradient(loss_of(name), F.one_hot(LABELS, CLASSES).double())
    assert mixed == pytest.approx(value, rel=1e-12) and torch.allclose(other, gradient, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"mse", "mse of probabilities"}))
def test_a_mixed_label_weighs_the_losses_of_its_classes(name):
    """Not the squared error, whose target is the mixture itself."""
    _, formula, _ = LOSSES[name]
    expected = np.mean(
        [
            sum(share * formula(row, k) for k, share in enumerate(mixed))
            for row, mixed in zip(LOGITS.numpy(), MIXED.numpy(), strict=True)
        ]
    )
    assert loss_of(name)(LOGITS, MIXED).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_the_squared_error_of_mixed_labels_is_against_the_mixture(outputs):
    given = LOGITS if outputs == "logits" else LOGITS.softmax(1)
    assert loss.mse(LOGITS, MIXED, outputs=outputs).item() == pytest.approx(((given - MIXED) ** 2).mean().item())


def test_what_is_easy_counts_little_in_the_focal_loss():
    """The paper's example: with γ = 2 an image of p = 0.9 counts a hundredth of its cross-entropy."""
    logits = torch.tensor([[np.log(9.0), 0.0]])
    label = torch.tensor([0])
    ratio = loss.focal(logits, label) / loss.cross_entropy(logits, label)
    assert ratio.item() == pytest.approx(0.01, rel=1e-5)
