"""Activations by hand, their gains beside torch's, and maxout in the lecture's CNN."""

import itertools
import math

import numpy as np
import pytest
import torch
from networks import layers, network, trainer, weighted
from scipy import integrate
from torch import nn

from trainer.config.schema import techniques
from trainer.techniques import activation, init

E = math.e
SCALE = 1.0507010  # λ of SELU, with α = 1.6732632: Klambauer et al. 2017, equation 14
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
    ("silu", {}, [-2 / (1 + E**2), -1 / (1 + E), 0.0, E / (1 + E), 2 * E**2 / (1 + E**2)]),
    ("mish", {}, [x * math.tanh(math.log(1 + E**x)) for x in INPUTS]),
    ("hardswish", {}, [-2 / 6, -2 / 6, 0.0, 4 / 6, 10 / 6]),
    ("softplus", {}, [math.log(1 + E**x) for x in INPUTS]),
    ("softplus", {"beta": 2.0}, [math.log(1 + E ** (2 * x)) / 2 for x in INPUTS]),
    ("celu", {}, [1 / E**2 - 1, 1 / E - 1, 0.0, 1.0, 2.0]),
    ("celu", {"alpha": 0.5}, [(1 / E**4 - 1) / 2, (1 / E**2 - 1) / 2, 0.0, 1.0, 2.0]),
    ("selu", {}, [SCALE * (x if x > 0 else 1.6732632 * (E**x - 1)) for x in INPUTS]),
    ("prelu", {}, [-0.5, -0.25, 0.0, 1.0, 2.0]),
    ("prelu", {"negative_slope": 0.5}, [-1.0, -0.5, 0.0, 1.0, 2.0]),
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
    ("selu", {}, 1.0),
    ("prelu", {}, nn.init.calculate_gain("leaky_relu", 0.25)),
    ("prelu", {"negative_slope": 0.5}, nn.init.calculate_gain("leaky_relu", 0.5)),
]
# Those whose gain is computed, with the functions as they are written in their papers.
KEEPING = [
    ("silu", {}, lambda x: x / (1 + np.exp(-x))),
    ("mish", {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("hardswish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("softplus", {}, lambda x: np.log1p(np.exp(x))),
    ("softplus", {"beta": 5.0}, lambda x: np.log1p(np.exp(5 * x)) / 5),
    ("celu", {}, lambda x: x if x > 0 else np.exp(x) - 1),
    ("celu", {"alpha": 0.1}, lambda x: x if x > 0 else 0.1 * (np.exp(x / 0.1) - 1)),
    ("selu", {}, lambda x: SCALE * (x if x > 0 else 1.6732632 * (np.exp(x) - 1))),
    ("relu", {}, lambda x: max(x, 0)),
]


@pytest.mark.parametrize(("name", "options", "function"), KEEPING, ids=lambda each: "" if callable(each) else str(each))
def test_the_gain_keeps_the_second_moment(name, options, function):
    """1 / √E[f(x)²] for a standard normal x, by SciPy's quadrature."""

    def weighed(x):
        return function(x) ** 2 * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    moment = sum(integrate.quad(weighed, low, high)[0] for low, high in itertools.pairwise([-12, -3, 0, 3, 12]))
    assert getattr(activation, name)(**options).gain == pytest.approx(moment**-0.5, rel=1e-6)


def test_layers_of_selu_with_its_start_keep_mean_and_variance():
    """Klambauer et al. 2017: (0, 1) is a fixed point with weights of variance 1 / fan_in."""
    torch.manual_seed(0)
    features, chosen = torch.randn(200, 500), activation.selu()
    for _ in range(20):
        layer = nn.Linear(500, 500)
        init.kaiming_normal(layer, chosen.gain)
        features = chosen.build()(layer(features))
    assert abs(features.mean().item()) < 0.1
    assert 0.8 < features.std().item() < 1.2


def test_the_slope_of_prelu_is_learned_and_decays_only_with_all_parameters():
    """One slope a layer, which moves, and is in the undecayed group unless weight_decay_scope=all."""
    for scope, decay in (("weights", 0.0), ("all", 0.5)):
        arguments = ("activation=prelu", "weight_decay=0.5", f"weight_decay_scope={scope}", "epochs=1", "batch_size=20")
        run = trainer(*arguments)
        slopes = {id(layer.weight) for layer in layers(run.model) if isinstance(layer, nn.PReLU)}
        assert len(slopes) == 3
        groups = [group for group in run.optimizer.param_groups if slopes & {id(each) for each in group["params"]}]
        assert [group["weight_decay"] for group in groups] == [decay]
        list(run.train_loop())
        assert all(layer.weight.item() != 0.25 for layer in layers(run.model) if isinstance(layer, nn.PReLU))


@pytest.mark.parametrize(("name", "options", "expected"), VALUES, ids=str)
def test_values_by_hand(name, options, expected):
    module = getattr(activation, name)(**options).build().double()
    assert module(torch.tensor(INPUTS, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "options", "gain"), GAINS, ids=str)
def test_the_gain_is_torchs(name, options, gain):
    assert getattr(activation, name)(**options).gain == pytest.approx(gain, rel=1e-12)


def test_every_activation_is_in_both_lists():
    names = set(techniques("activation"))
    assert {name for name, *_ in VALUES} | {"maxout"} == names == {name for name, *_ in (*GAINS, *KEEPING)}


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
