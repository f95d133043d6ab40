"""Activations by hand, their gains beside torch's, and maxout in the lecture's CNN."""

import math

import pytest
import torch
from networks import network, weighted
from torch import nn

from trainer.config.schema import techniques
from trainer.techniques import activation

E = math.e
INPUTS = [-2.0, -1.0, 0.0, 1.0, 2.0]
# Φ(1) = 0.841345 and Φ(2) = 0.977250 are the normal distribution function's tabulated values.
VALUES = [
    ("sigmoid", {}, [1 / (1 + E**2), 1 / (1 + E), 0.5, E / (1 + E), E**2 / (1 + E**2)]),
    (
        "tanh",
        {},
        [(1 - E**4) / (1 + E**4), (1 - E**2) / (1 + E**2), 0.0, (E**2 - 1) / (E**2 + 1), (E**4 - 1) / (E**4 + 1)],
    ),
    ("relu", {}, [0.0, 0.0, 0.0, 1.0, 2.0]),
    ("leaky_relu", {}, [-0.02, -0.01, 0.0, 1.0, 2.0]),
    ("leaky_relu", {"negative_slope": 0.25}, [-0.5, -0.25, 0.0, 1.0, 2.0]),
    ("elu", {}, [1 / E**2 - 1, 1 / E - 1, 0.0, 1.0, 2.0]),
    ("elu", {"alpha": 0.5}, [(1 / E**2 - 1) / 2, (1 / E - 1) / 2, 0.0, 1.0, 2.0]),
    ("gelu", {}, [-2 * (1 - 0.9772499), -(1 - 0.8413447), 0.0, 0.8413447, 2 * 0.9772499]),
]
GAINS = [
    ("sigmoid", {}, nn.init.calculate_gain("sigmoid")),
    ("tanh", {}, nn.init.calculate_gain("tanh")),
    ("relu", {}, nn.init.calculate_gain("relu")),
    ("leaky_relu", {}, nn.init.calculate_gain("leaky_relu", 0.01)),
    ("leaky_relu", {"negative_slope": 0.5}, nn.init.calculate_gain("leaky_relu", 0.5)),
    ("leaky_relu", {"negative_slope": 0.0}, nn.init.calculate_gain("relu")),
    ("elu", {}, math.sqrt(2)),  # torch has none for these three
    ("gelu", {}, math.sqrt(2)),
    ("maxout", {}, 1.0),
]


@pytest.mark.parametrize(("name", "options", "expected"), VALUES, ids=str)
def test_values_by_hand(name, options, expected):
    module = getattr(activation, name)(**options).build()
    assert module(torch.tensor(INPUTS, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "options", "gain"), GAINS, ids=str)
def test_the_gain_is_torchs(name, options, gain):
    assert getattr(activation, name)(**options).gain == pytest.approx(gain, rel=1e-12)


def test_every_activation_is_in_both_lists():
    names = set(techniques("activation"))
    assert {name for name, *_ in VALUES} | {"maxout"} == names == {name for name, *_ in GAINS}


def test_only_maxout_takes_several_inputs():
    pieces = {name: getattr(activation, name)().pieces for name in techniques("activation")}
    assert {name for name, count in pieces.items() if count != 1} == {"maxout"}
    assert pieces["maxout"] == 2


def test_each_layer_gets_a_module_of_its_own():
    chosen = activation.relu()
    assert chosen.build() is not chosen.build()


def test_maxout_by_hand():
    """Neighbours compete: of (1, 5 | −3, −4 | 2, 2) stay 5, −3, 2; in a picture each pixel by itself."""
    two = activation.maxout().build()
    assert two(torch.tensor([[1.0, 5.0, -3.0, -4.0, 2.0, 2.0]])).tolist() == [[5.0, -3.0, 2.0]]
    three = activation.maxout(pieces=3).build()
    assert three(torch.tensor([[1.0, 5.0, -3.0, -4.0, 2.0, 2.5]])).tolist() == [[5.0, 2.5]]
    maps = torch.tensor([[[[1.0, 2.0]], [[0.0, 9.0]]]])  # [1, 2, 1, 2]
    assert two(maps).tolist() == [[[[1.0, 9.0]]]]


def test_maxout_is_the_largest_of_linear_pieces():
    """Note 004: max(w₁ᵀx + b₁, w₂ᵀx + b₂); with |x| = max(x, −x) as the case."""
    hidden = nn.Linear(1, 2)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        hidden.bias.zero_()
    network = nn.Sequential(hidden, activation.maxout().build())
    assert network(torch.tensor([[-3.0], [0.5]])).tolist() == [[3.0], [0.5]]


def test_the_gain_of_maxout_keeps_the_second_moment():
    """E[max(a, b)²] = 1 for two independent normal values: nothing to compensate; within four standard errors."""
    draw = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    squares = activation.maxout().build()(draw).square()
    error = squares.std().item() / math.sqrt(squares.numel())
    assert abs(squares.mean().item() - 1.0) < 4 * error < 0.02


@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout_widens_the_layers_before_it_and_nothing_after_it(pieces):
    """Every layer but the last gets `pieces` times as many outputs; what comes after sees the lecture's widths."""
    maxout = ("activation=maxout", f"activation.pieces={pieces}")
    model = network(*maxout)
    shapes = [tuple(layer.weight.shape) for layer in weighted(model)]
    assert shapes == [(6 * pieces, 3, 5, 5), (16 * pieces, 6, 5, 5), (128 * pieces, 400), (10, 128)]
    widened = pieces * (6 * (75 + 1) + 16 * (150 + 1) + 128 * (400 + 1)) + 10 * (128 + 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == widened
    assert widened == {2: 109_690, 3: 163_890}[pieces]
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)

    perceptron = network("model=mlp", "model.hidden=[7]", *maxout, shape=(1, 4, 4), classes=5)
    assert [tuple(layer.weight.shape) for layer in weighted(perceptron)] == [(7 * pieces, 16), (5, 7)]


def test_one_piece_each_is_the_lectures_network():
    parameters = sum(parameter.numel() for parameter in network().parameters())
    assert parameters == 456 + 2416 + 51_328 + 1290 == 55_490
