"""The techniques of this project follow the NumPy forms of the book's formulas; optimizers: test_optimizer.py."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainer.lecture.formulas import rule_of
from trainer.techniques import activation, augmentation, init, loss, normalization, regularization, scheduler
from trainer.techniques.networks.joint_networks import Ensemble, HardSharing, SoftSharing
from trainer.training.early_stopping import EarlyStopping
from trainer.training.lr_schedule import Schedule

SINGLE = 1e-6  # relative, of single precision


def book(name):
    return rule_of(name).numpy


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def images(count=200, size=12):
    return torch.rand(count, 2, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(found, expected, tolerance=1e-12):
    if isinstance(found, torch.Tensor):
        found = found.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "settings", "theirs"),
    [
        ("step", {"step_size": 7, "gamma": 0.3}, {"step_size": 7, "gamma": 0.3}),
        ("exponential", {"gamma": 0.9}, {"gamma": 0.9}),
        ("cosine", {"min_lr": 0.01}, {"T_max": 40, "min_lr": 0.01}),
        ("linear", {}, {"epochs": 40}),
        ("inverse_sqrt", {}, {}),
        ("cyclic", {"min_lr": 0.01, "period": 8.0}, {"min_lr": 0.01, "period": 8}),
    ],
)
def test_the_schedules(name, settings, theirs):
    rate = getattr(scheduler, name)(0.4, 40.0, **settings)
    close([rate(epoch) for epoch in range(40)], [book(name)(0.4, epoch, **theirs) for epoch in range(40)])


def test_plateau():
    losses = np.exp(-np.arange(100) / 15) + np.random.default_rng(0).uniform(0.5, 0.6, 100)
    rate, rates = scheduler.plateau(0.4, 100.0, factor=0.3, patience=4), []
    for each in losses:
        rate.observe(float(each))
        rates.append(rate(0.0))
    assert len(set(rates)) > 3
    close(rates, book("plateau")(losses, 0.4, patience=4, factor=0.3))


def test_warm_up():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule, rates = Schedule(optimizer, lambda epoch: 0.4, steps_per_epoch=5, warmup_steps=6), []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    close(rates, [book("warmup")(0.4, step, 6) for step in range(12)])


def test_normalization():
    x, gamma, beta = numbers(16, 5), numbers(5, seed=1), numbers(5, seed=2)
    for name, build in (("batch_norm", normalization.batch), ("layer_norm", normalization.layer)):
        layer = build((5,)).double().train()
        layer.weight.data, layer.bias.data = torch.tensor(gamma), torch.tensor(beta)
        close(layer(torch.tensor(x)), book(name)(x, gamma, beta))
    layer, batches = normalization.batch((5,)).double(), numbers(20, 16, 5)
    for batch in batches:
        layer(torch.tensor(batch))
    mean, var = book("batch_norm_running")(batches)
    close(layer.running_mean, mean)
    close(layer.running_var, var)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "leaky_relu", "elu"])
def test_activations(name):
    x = numbers(50)
    close(getattr(activation, name)().build()(torch.tensor(x)), book(name)(x))


def test_maxout():
    x, (W1, b1, W2, b2) = numbers(8, 5), [numbers(*shape, seed=3) for shape in ((3, 5), (3,), (3, 5), (3,))]
    linear = nn.Linear(5, 6, dtype=torch.float64)
    linear.weight.data = torch.tensor(np.stack([W1, W2 + 1], 1).reshape(6, 5))  # neighbouring units are one
    linear.bias.data = torch.tensor(np.stack([b1, b2], 1).reshape(6))
    close(activation.maxout().build()(linear(torch.tensor(x))), book("maxout")(x, W1, b1, W2 + 1, b2))


def test_losses():
    logits, labels = 3 * numbers(16, 10), np.random.default_rng(1).integers(0, 10, 16)
    tensors = torch.tensor(logits), torch.tensor(labels)
    entropy = loss.cross_entropy(*tensors)
    close(entropy, book("cross_entropy")(logits, labels))
    close(loss.mse(*tensors), book("mse")(logits, np.eye(10)[labels]))
    penalty = regularization.label_smoothing(nn.Identity(), smoothing=0.2).penalty
    close(entropy + penalty(*tensors), book("label_smoothing")(logits, labels, 0.2))


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_penalties(name):
    layer = nn.Linear(6, 4, dtype=torch.float64)
    found = getattr(regularization, name)(layer, strength=0.03).penalty(torch.zeros(1), torch.zeros(1))
    found.backward()
    penalty, gradient = book(name)(layer.weight.detach().numpy(), 0.03)
    close(found, penalty)
    close(layer.weight.grad, gradient)
    assert layer.bias.grad is None  # biases are not regularized


@pytest.mark.parametrize("name", ["xavier_normal", "kaiming_normal"])
def test_initial_weights(name):
    layer = nn.Linear(30, 20)
    torch.manual_seed(5)
    getattr(init, name)(layer, activation.relu().gain)
    torch.manual_seed(5)
    close(layer.weight, book(name)(torch.randn(20, 30).numpy()), SINGLE)


def test_zeros_leave_the_units_equal():
    X, y = numbers(30, 5), numbers(30, seed=1)
    layers = [nn.Linear(5, 4, bias=False, dtype=torch.float64), nn.Linear(4, 1, bias=False, dtype=torch.float64)]
    for layer in layers:
        init.zeros(layer, 1.0)
    network = nn.Sequential(layers[0], nn.Sigmoid(), layers[1])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        (F.mse_loss(network(torch.tensor(X))[:, 0], torch.tensor(y)) / 2).backward()
        optimizer.step()
    close(layers[0].weight, book("zeros")(X, y))
    assert (layers[0].weight == layers[0].weight[0]).all()
    assert layers[0].weight.abs().max() > 0.01


def changed(name, **settings):
    """The images before and after a technique, and the labels [N, N] of one class an image."""
    before, labels = images(), torch.arange(len(images()))
    technique, generator = getattr(augmentation, name), torch.Generator().manual_seed(0)
    after, labels = technique(before, labels, len(before), generator, **settings)
    return before.numpy(), after.numpy(), labels.numpy()


def test_flip():
    before, after, _ = changed("flip")
    flipped = [np.array_equal(book("flip")(one, 0.0), other) for one, other in zip(before, after, strict=True)]
    kept = [np.array_equal(book("flip")(one, 1.0), other) for one, other in zip(before, after, strict=True)]
    assert [one != other for one, other in zip(flipped, kept, strict=True)] == [True] * len(before)
    assert 60 < sum(flipped) < 140


def test_crop():
    before, after, _ = changed("crop")
    places = set()
    for one, other in zip(before, after, strict=True):
        fitting = [place for place in np.ndindex(9, 9) if np.array_equal(book("crop")(one, *place), other)]
        places.add(*fitting)
    assert {top for top, _ in places} == {left for _, left in places} == set(range(9))


def test_cutout():
    before, after, _ = changed("cutout", size=6)
    found = []
    for one, other in zip(before, after, strict=True):
        fitting = [place for place in np.ndindex(12, 12) if np.array_equal(book("cutout")(one, *place, 6), other)]
        found.append(len(fitting))
    assert min(found) == 1  # more than one at a corner, where holes are cut to the same shape
    assert np.mean(found) < 2


def test_mixup():
    before, after, labels = changed("mixup", alpha=1.0)
    for number, (pixels, shares) in enumerate(zip(after, labels, strict=True)):
        order = np.arange(len(before))
        order[number] = max(set(np.flatnonzero(shares)) - {number}, default=number)
        x, y = book("mixup")(before, np.eye(len(before)), order, shares[number])
        close(pixels, x[number])
        close(shares, y[number])


def test_ensembles():
    networks = [nn.Linear(6, 10, dtype=torch.float64) for _ in range(3)]
    x = torch.tensor(numbers(8, 6))
    logits = np.stack([network(x).detach().numpy() for network in networks])
    close(Ensemble(networks).eval()(x).exp(), book("ensemble_average")(logits))


def test_multi_task():
    x, labels = torch.tensor(numbers(8, 6)), torch.arange(8) % 4
    coarse_of = torch.tensor([0, 0, 1, 1])
    layers = [nn.Linear(6, 5, bias=False), nn.ReLU()]
    hard = HardSharing(nn.Sequential(*layers), 5, F.one_hot(coarse_of).double(), 1.0).double().train()
    for head in (hard.fine, hard.coarse):
        head.bias.data.zero_()
    total = mean_square(hard(x), F.one_hot(labels, 4)) + hard.auxiliary_loss(labels, mean_square)
    encoder, *heads = [each.weight.detach().numpy() for each in (layers[0], hard.fine, hard.coarse)]
    targets = [np.eye(4)[labels], np.eye(2)[coarse_of[labels]]]
    close(total, book("hard_sharing")(x.numpy(), encoder, heads, targets), SINGLE)


def mean_square(logits, targets):
    return F.mse_loss(logits, targets.to(logits.dtype))


def test_soft_sharing():
    encoders = nn.Linear(6, 5), nn.Linear(6, 5)
    soft = SoftSharing(encoders, 5, F.one_hot(torch.tensor([0, 1])).float(), 0.0, 0.01).train()
    soft(torch.zeros(2, 6))
    vectors = [nn.utils.parameters_to_vector(each.parameters()).detach().double().numpy() for each in encoders]
    close(soft.auxiliary_loss(torch.tensor([0, 1])), book("soft_sharing")(*vectors, 0.01), SINGLE)


@pytest.mark.parametrize("min_delta", [0.0, 0.02])
def test_early_stopping(min_delta):
    for seed in range(20):
        losses = np.exp(-np.arange(60) / 10) + np.random.default_rng(seed).uniform(0.5, 0.7, 60)
        rule, stopped = EarlyStopping(4, min_delta), len(losses) - 1
        for epoch, each in enumerate(losses):
            rule.observe(epoch, each, 0.0)
            if rule.exhausted:
                stopped = epoch
                break
        assert stopped == book("early_stopping")(losses, 4, min_delta) < 59


def test_an_equal_loss_is_no_progress_here():
    """Note 000's class starts its counter again at an equal loss, as the text of the formula says."""
    losses, rule = [1.0] * 6, EarlyStopping(3, 0.0)
    for epoch, each in enumerate(losses):
        rule.observe(epoch, each, 0.0)
    assert rule.waited == 5
    assert book("early_stopping")(losses, 3) == 5  # the last epoch: never stopped
