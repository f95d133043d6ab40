"""Optimizers that are no rule for each number: SAM's two gradients, Lookahead, schedule-free, Muon's matrices."""

from collections import defaultdict

import networks
import numpy as np
import numpy_optimizers
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainer.errors import ConfigError
from trainer.techniques import optimizer
from trainer.techniques.steps.muon import orthogonalized
from trainer.training.build import parameter_groups

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]])  # f(w) = ½ wᵀAw − bᵀw
B, START, STEPS = np.array([1.0, -2.0, 0.5]), np.array([2.0, -1.0, 4.0]), 20
BASES = ("sgd", "momentum", "nesterov", "adam", "adamw")


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def on_the_quadratic(name, decay, **options):
    """The weight under the optimizer, and the closure that computes its gradient; the weights lie in two tensors."""
    parts = [nn.Parameter(torch.tensor(START[:1])), nn.Parameter(torch.tensor(START[1:]))]
    rule = getattr(optimizer, name)([{"params": parts, "weight_decay": decay}], 0.05, decay, **options)

    def closure():
        rule.zero_grad()
        weight = torch.cat(parts)
        loss = weight @ torch.from_numpy(A) @ weight / 2 - torch.from_numpy(B) @ weight
        loss.backward()
        return loss.detach()

    return rule, closure, lambda: torch.cat(parts).detach().numpy().copy()


def of_base(base, momentum):
    options = {"sgd": {}, "momentum": {"momentum": momentum}, "nesterov": {"momentum": momentum}}
    return getattr(numpy_optimizers, base), options.get(base, {"betas": (momentum, 0.999)})


@pytest.mark.parametrize("base", BASES)
def test_sam_takes_the_gradient_at_the_worst_point_nearby(base):
    """By hand: g = Aw − b at w, then A(w + ρ·g/‖g‖) − b, with which the base steps from w; λw is of w."""
    step, closure, weight = on_the_quadratic("sam", 0.1, rho=0.5, base=base, momentum=0.7)
    expected, memory = START, defaultdict(float)
    rule, options = of_base(base, 0.7)
    for number in range(1, STEPS + 1):
        loss = step.step(closure)
        gradient = A @ expected - B
        assert loss.item() == pytest.approx(expected @ A @ expected / 2 - B @ expected)
        second = A @ (expected + 0.5 * gradient / np.linalg.norm(gradient)) - B
        expected = rule(expected, second, memory, number, 0.05, 0.1, **options)
        np.testing.assert_allclose(weight(), expected, rtol=1e-9)
    assert type(step).gradients_per_step == 2


@pytest.mark.parametrize("base", BASES)
def test_lookahead_meets_its_slow_weights_every_third_step(base):
    step, closure, weight = on_the_quadratic("lookahead", 0.1, sync_steps=3, alpha=0.3, base=base, momentum=0.7)
    fast, slow, memory = START, START, defaultdict(float)
    rule, options = of_base(base, 0.7)
    for number in range(1, STEPS + 1):
        closure()
        step.step()
        fast = rule(fast, A @ fast - B, memory, number, 0.05, 0.1, **options)
        if number % 3 == 0:
            fast = slow = slow + 0.3 * (fast - slow)
        np.testing.assert_allclose(weight(), fast, rtol=1e-9)


def test_schedule_free_evaluates_the_average_of_its_fast_weights():
    """Algorithm 1 of Defazio et al. 2024 with x, y and z apart, at a rate that changes, evaluated now and then."""
    step, closure, weight = on_the_quadratic("schedule_free", 0.1, beta=0.8, beta2=0.9, eps=0.01)
    x = z = START
    square, total = 0.0, 0.0
    for number in range(1, STEPS + 1):
        rate = step.param_groups[0]["lr"] = 0.0 if number == 1 else 0.1 / number  # a warm-up from 0, say
        step.train()
        y = 0.2 * z + 0.8 * x
        np.testing.assert_allclose(weight(), y, rtol=1e-9)
        closure()
        step.step()
        gradient = A @ y - B
        square = 0.9 * square + 0.1 * gradient**2
        total += rate**2
        z = z - rate * (gradient / (np.sqrt(square / (1 - 0.9**number)) + 0.01) + 0.1 * y)
        x = x if total == 0 else x + rate**2 / total * (z - x)
        if number % 4 == 0:
            step.eval()
            np.testing.assert_allclose(weight(), x, rtol=1e-9)
            step.eval()
            np.testing.assert_allclose(weight(), x, rtol=1e-9)  # once is enough


def newton_schulz(matrix):
    """Five steps of the quintic iteration on the singular values: s ← 3.4445·s − 4.775·s³ + 2.0315·s⁵."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(matrix)
    for _ in range(5):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)], ids=str)
def test_the_orthogonal_matrix_has_the_singular_vectors_and_values_near_one(shape):
    matrices = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalized(matrices, 5)
    for each, matrix in zip(found, matrices, strict=True):
        np.testing.assert_allclose(each.numpy(), newton_schulz(matrix.numpy()), rtol=1e-9, atol=1e-12)
        assert torch.linalg.svdvals(each).sub(1).abs().max() < 0.35
        # torch's own computes in bfloat16, of three digits
        theirs = torch.optim._muon._zeropower_via_newtonschulz(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7)
        assert (each - theirs).abs().max() < 0.05


@pytest.mark.parametrize("scale", ["spectral", "rms"])
def test_muon_on_the_lecture_cnn_is_the_written_out_rule(scale):
    """Twelve steps: the second convolution [16, 6·5·5] and the first linear layer are orthogonal, all else is AdamW."""
    lr, decay, model = 0.01, 0.02, networks.network().double()
    groups = parameter_groups(model, decay, "weights")
    rule = optimizer.muon(groups, lr, decay, scale=scale, adamw_lr_scale=0.5, momentum=0.8)
    for group in rule.param_groups:  # as the schedule does
        group["lr"] = lr * group.get("lr_scale", 1.0)
    orthogonal = {id(each) for group in rule.param_groups if group["orthogonal"] for each in group["params"]}
    names = {name for name, each in model.named_parameters() if id(each) in orthogonal}
    matrices = [name for name, each in model.named_parameters() if each.ndim > 1]
    assert names == set(matrices[1:3]) and len(matrices) == 4
    images, labels = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    expected = {name: each.detach().numpy().copy() for name, each in model.named_parameters()}
    memory = {name: defaultdict(float) for name in expected}
    for number in range(1, 13):
        rule.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        gradients = {name: each.grad.numpy().copy() for name, each in model.named_parameters()}
        rule.step()
        for name, gradient in gradients.items():
            shrinkage, kept = decay if name in matrices else 0.0, memory[name]
            if name not in names:
                options = {"betas": (0.9, 0.95)}
                expected[name] = numpy_optimizers.adamw(
                    expected[name], gradient, kept, number, lr / 2, shrinkage, **options
                )
                continue
            kept["m"] = 0.8 * kept["m"] + 0.2 * gradient
            rows = len(gradient)
            columns = gradient.size // rows
            factor = max(1, rows / columns) ** 0.5 if scale == "spectral" else 0.2 * max(rows, columns) ** 0.5
            matrix = (0.2 * gradient + 0.8 * kept["m"]).reshape(rows, columns)
            turn = newton_schulz(matrix).reshape(gradient.shape)
            expected[name] = expected[name] * (1 - lr * decay) - lr * factor * turn
        for name, each in model.named_parameters():
            np.testing.assert_allclose(each.detach().numpy(), expected[name], rtol=1e-6, atol=1e-9)


def test_muon_is_torchs_on_a_matrix():
    """torch's takes matrices only, and bfloat16: five steps of 0.1 agree to two digits."""
    shapes = {"first.weight": (5, 5), "hidden.weight": (6, 4), "last.weight": (3, 6)}
    draw = torch.Generator().manual_seed(0)
    pairs = [(name, nn.Parameter(torch.randn(shape, generator=draw))) for name, shape in shapes.items()]
    ours, theirs = pairs[1][1], nn.Parameter(pairs[1][1].detach().clone())
    one = optimizer.muon([{"params": pairs, "weight_decay": 0.1}], 0.1, 0.1)
    other = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(6, 4, generator=draw)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()
        assert (ours - theirs).abs().max() < 0.02


def test_muon_passes_over_what_is_no_matrix():
    """The scale of a layer normalization of maps [C, H, W], positions [1, N, D], and frozen weights."""
    shapes = {
        "frozen.weight": (5, 3, 2, 2),
        "first.weight": (5, 3, 2, 2),
        "norm.weight": (5, 2, 2),
        "positions": (1, 4, 5),
        "scale": (4, 5),
        "hidden.weight": (4, 5),
        "last.weight": (3, 4),
        "last.bias": (3,),
    }
    pairs = [(name, nn.Parameter(torch.ones(shape), not name.startswith("frozen"))) for name, shape in shapes.items()]
    rule = optimizer.muon([{"params": pairs, "weight_decay": 0.0}], 0.1, 0.0)
    assert [group["param_names"] for group in rule.param_groups if group["orthogonal"]] == [["hidden.weight"]]
    with pytest.raises(ConfigError, match=r"^optimizer=muon acts on weights between .* it has 2 layers with weights, "):
        optimizer.muon([{"params": [pairs[1], pairs[6]], "weight_decay": 0.0}], 0.1, 0.0)


@pytest.mark.parametrize(("name", "options"), [("lookahead", {"sync_steps": 2}), ("sam", {}), ("schedule_free", {})])
def test_a_weight_without_a_gradient_stays(name, options):
    trained, idle = (nn.Parameter(torch.ones(2)) for _ in range(2))
    rule = getattr(optimizer, name)([{"params": [idle, trained], "weight_decay": 0.1}], 0.1, 0.1, **options)

    def closure():
        trained.grad = torch.ones(2)
        return torch.zeros(())

    for _ in range(4):
        closure()
        rule.step(closure)
    assert torch.equal(idle, torch.ones(2)) and (trained < 0.9).all()
