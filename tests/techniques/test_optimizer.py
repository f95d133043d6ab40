"""Each optimizer against its formula in NumPy: on a quadratic and on the first convolution of the lecture's CNN.

All in double precision, so that the bound on the relative error can be far below the 1e-6 that a formula needs.
"""

import inspect
from collections import defaultdict

import numpy as np
import numpy_optimizers
import pytest
import torch
from networks import NORMALIZATIONS, network, unweighted, weighted
from torch import nn
from torch.nn import functional as F

from trainer.config.schema import techniques
from trainer.techniques import optimizer
from trainer.training.build import parameter_groups

RELATIVE = 1e-9
STEPS = 20
RULES = {name: rule for name, rule in vars(numpy_optimizers).items() if inspect.isfunction(rule)}
VARIANTS = [
    *((name, {}) for name in RULES),
    ("momentum", {"momentum": 0.5, "dampening": 0.3}),
    ("nesterov", {"momentum": 0.6}),
    ("adagrad", {"eps": 0.03, "lr_decay": 0.2, "initial_accumulator": 0.4}),
    ("rmsprop", {"alpha": 0.9, "eps": 0.03, "momentum": 0.7, "centered": True}),
    ("adam", {"betas": (0.7, 0.9), "eps": 0.03, "amsgrad": True}),
    ("momentum", {"momentum": 0.6, "form": "lecture"}),
    ("momentum", {"momentum": 0.6, "form": "ema"}),
    ("rmsprop", {"alpha": 0.9, "start": "gradient"}),
    ("rmsprop", {"alpha": 0.9, "start": "gradient", "momentum": 0.7, "centered": True}),
    ("adadelta", {"rho": 0.7, "eps": 0.03}),
    ("nadam", {"betas": (0.7, 0.9), "eps": 0.03, "momentum_decay": 0.1, "decoupled": True}),
    ("radam", {"betas": (0.7, 0.9), "eps": 0.03, "decoupled": True}),
    ("adamax", {"betas": (0.7, 0.9), "eps": 0.03}),
    ("adafactor", {"decay": 0.5, "eps": 3.0}),
    ("lion", {"betas": (0.6, 0.8)}),
    ("adamw", {"betas": (0.7, 0.9), "eps": 0.03, "amsgrad": True}),
]


@pytest.fixture(autouse=True)
def double_precision():
    """Numbers that an optimizer keeps, too: torch's NAdam has a product of momenta."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def close(measured, expected):
    np.testing.assert_allclose(np.asarray(measured), np.asarray(expected), rtol=RELATIVE, atol=1e-13)


def one_parameter(name, start, lr, decay=0.0, /, **options):
    """A parameter under the project's optimizer, and a function that steps it with a given gradient."""
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    steps = getattr(optimizer, name)([{"params": [weight], "weight_decay": decay}], lr, decay, **options)

    def step(gradient):
        weight.grad = torch.as_tensor(gradient, dtype=torch.float64)
        steps.step()
        return weight.detach().numpy().copy()

    return weight, steps, step


def test_there_is_a_rule_for_every_optimizer():
    others = {"muon", "sam", "lookahead", "schedule_free"}  # those of test_outer_steps.py
    assert {*RULES, *others} == set(techniques("optimizer"))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_twenty_steps_on_a_quadratic(name, options, decay):
    """f(w) = ½ wᵀAw − bᵀw: torch differentiates it, the reference uses Aw − b at its own position."""
    a = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]])
    b, start = np.array([1.0, -2.0, 0.5]), [2.0, -1.0, 4.0]
    weight, steps, _ = one_parameter(name, start, 0.05, decay, **options)
    expected, memory = np.array(start), defaultdict(float)
    for step in range(1, STEPS + 1):
        steps.zero_grad()
        (weight @ torch.from_numpy(a) @ weight / 2 - torch.from_numpy(b) @ weight).backward()
        steps.step()
        expected = RULES[name](expected, a @ expected - b, memory, step, 0.05, decay, **options)
        close(weight.detach(), expected)
    assert np.abs(expected - start).max() > 1e-3


@pytest.mark.parametrize("name", RULES)
def test_twenty_steps_of_the_lecture_cnn(name):
    """The gradients that torch computed for the first convolution are recorded and replayed in NumPy."""
    lr, decay, model = 0.01, 0.02, network().double()
    steps = getattr(optimizer, name)(parameter_groups(model, decay, "weights"), lr, decay)
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, first = torch.arange(8), weighted(model)[0]
    assert first.weight.shape == (6, 3, 5, 5)
    start = expected = first.weight.detach().numpy().copy()
    expected_bias, memory, bias_memory = first.bias.detach().numpy().copy(), defaultdict(float), defaultdict(float)
    for step in range(1, STEPS + 1):
        steps.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        gradient, bias_gradient = first.weight.grad.numpy().copy(), first.bias.grad.numpy().copy()
        steps.step()
        expected = RULES[name](expected, gradient, memory, step, lr, decay)
        expected_bias = RULES[name](expected_bias, bias_gradient, bias_memory, step, lr, 0.0)  # never decayed
        close(first.weight.detach(), expected)
        close(first.bias.detach(), expected_bias)
    assert np.abs(expected - start).max() > 5e-4


def test_momentum_of_note_003_is_torchs_only_while_the_rate_is_constant():
    """Note 003: v ← μv + γg; θ ← θ − v. The rate that a gradient came with stays in its v for ever."""

    def note(rates):
        v = theta = 0.0
        for rate in rates:
            v = 0.5 * v + rate * 1.0
            theta -= v
        return theta

    def ours(rates, **form):
        _, steps, step = one_parameter("momentum", 0.0, 1.0, momentum=0.5, **form)
        for rate in rates:
            steps.param_groups[0]["lr"] = rate
            theta = step(1.0)
        return float(theta)

    assert ours([0.1] * STEPS) == pytest.approx(note([0.1] * STEPS), rel=RELATIVE)
    assert ours([1.0, 0.1]) == pytest.approx(-1.0 - 0.1 * 1.5)  # v = 1, 1.5
    assert note([1.0, 0.1]) == pytest.approx(-1.0 - 0.6)  # v = 1, 0.6
    for rates in ([0.1] * STEPS, [1.0, 0.1]):
        assert ours(rates, form="lecture") == pytest.approx(note(rates), rel=RELATIVE)


def test_the_mean_of_note_004_begins_with_a_tenth_of_the_first_gradient():
    """v = βv + (1 − β)g from v = 0: with g = 1 it is 1 − β^t. torch's dampening leaves the first gradient whole."""
    _, _, step = one_parameter("momentum", 0.0, 1.0, form="ema")
    assert [float(step(1.0)) for _ in range(3)] == pytest.approx([-0.1, -0.1 - 0.19, -0.1 - 0.19 - 0.271])
    _, _, torchs = one_parameter("momentum", 0.0, 1.0, dampening=0.9)
    assert float(torchs(1.0)) == -1.0


def test_rmsprop_of_note_004_begins_with_a_step_of_the_rate():
    """σ⁰ = g⁰, so that the first step is lr; then σ¹ = √(α(σ⁰)² + (1 − α)(g¹)²). torch's first is lr / √(1 − α)."""
    _, _, step = one_parameter("rmsprop", [0.0, 0.0], 0.1, alpha=0.9, eps=1e-12, start="gradient")
    assert step([5.0, -0.01]) == pytest.approx([-0.1, 0.1])
    assert step([5.0, -0.03]) == pytest.approx([-0.2, 0.1 + 0.1 * 0.03 / np.sqrt(0.9 * 0.01**2 + 0.1 * 0.03**2)])
    _, _, torchs = one_parameter("rmsprop", [0.0, 0.0], 0.1, alpha=0.9, eps=1e-12)
    assert torchs([5.0, -0.01]) == pytest.approx([-0.1 / np.sqrt(0.1), 0.1 / np.sqrt(0.1)])


def test_nesterov_steps_the_look_ahead_point():
    """On f = w²/2 by hand, against θ and v with the gradient taken at θ − lr·β·v.

    Note 002 prints ∇J(w + γv) beside w ← w − αv: with these signs its second gradient is taken uphill.
    """
    lr, beta, theta, v, expected = 0.1, 0.5, 1.0, 0.0, []
    for _ in range(STEPS):
        v = beta * v + (theta - lr * beta * v)
        theta -= lr * v
        expected.append(theta - lr * beta * v)
    assert expected[:2] == pytest.approx([0.85, 0.6975])

    weight, _, step = one_parameter("nesterov", 1.0, lr, momentum=beta)
    close([step(weight.detach().clone()) for _ in range(STEPS)], expected)

    printed_w, printed_v = 0.9, 1.0  # after one step; it would be 0.9 with the right sign, too
    printed_w -= lr * (beta * printed_v + (printed_w + beta * printed_v))
    assert printed_w == pytest.approx(0.71)
    assert 0.9 - lr * (beta * 1.0 + (0.9 - lr * beta * 1.0)) == pytest.approx(0.765)  # θ after two steps


@pytest.mark.parametrize(("name", "root"), [("adagrad", 1e-6), ("rmsprop", 1e-7)])
def test_eps_stands_outside_the_root(name, root):
    """One step with g = 1e-6 and eps = 1e-8: inside the root, as the notes have it, eps swallows the gradient."""
    _, _, step = one_parameter(name, 0.0, 1.0, eps=1e-8)
    moved = -float(step(1e-6))
    assert moved == pytest.approx(1e-6 / (root + 1e-8), rel=1e-9)
    inside = 1e-6 / np.sqrt(root**2 + 1e-8)
    assert inside == pytest.approx(0.01, rel=1e-3)
    assert moved > 90 * inside


@pytest.mark.parametrize(
    ("name", "decay", "expected"),
    [
        ("adam", 0.1, [0.99, 3.99]),  # λW is divided by its own root: every weight moves by lr, whatever λ is
        ("adam", 0.2, [0.99, 3.99]),
        ("adamw", 0.1, [0.999, 3.996]),  # (1 − 0.01·0.1)·W
        ("adamw", 0.2, [0.998, 3.992]),
        ("sgd", 0.1, [0.999, 3.996]),
    ],
)
def test_decay_is_coupled_in_adam_and_decoupled_in_adamw(name, decay, expected):
    """One step without any gradient of the data."""
    _, _, step = one_parameter(name, [1.0, 4.0], 0.01, decay)
    assert step([0.0, 0.0]) == pytest.approx(expected, rel=1e-6)


def shrinkage(name, decay):
    """By what one sgd step with λ = 0.5 and no gradient multiplies each parameter of the lecture's CNN."""
    model = network(f"normalization={name}").double()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.zeros_like(parameter)
    optimizer.sgd(parameter_groups(model, 0.5, decay), 0.1, 0.5).step()
    skip_on_oom = unweighted(model)
    factors = {parameter: (values / 2).unique().tolist() for parameter, values in model.named_parameters()}
    assert len(factors) > len(skip_on_oom) > 3
    return factors, skip_on_oom


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_weights_shrink_by_one_minus_lr_times_decay_and_nothing_else_does(name):
    """Biases and normalization scales are spared (notes 003, 004)."""
    factors, skip_on_oom = shrinkage(name, "weights")
    assert factors == {parameter: [1.0 if parameter in skip_on_oom else pytest.approx(0.95)] for parameter in factors}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_decay_all_shrinks_everything(name):
    factors, _ = shrinkage(name, "all")
    assert factors == {parameter: [pytest.approx(0.95)] for parameter in factors}
