"""Initial weights: measured spread against the formula, within four standard errors; and what zeros do to symmetry."""

import math
from functools import partial

import pytest
import torch
from conftest import tiny_images
from networks import composed, network, trainer, weighted
from scipy import stats
from torch import nn

from trainer.config.schema import techniques
from trainer.data.images import Images
from trainer.errors import ConfigError
from trainer.techniques import init
from trainer.techniques.layers import ResidualBlock
from trainer.training.build import build_trainer
from trainer.training.network import build_model

# A linear layer of 300 inputs and 200 outputs; a convolution 5×5 of 12 into 40: fan_in 300, fan_out 1000.
LAYERS = {"linear": partial(nn.Linear, 300, 200), "convolution": partial(nn.Conv2d, 12, 40, 5)}
FANS = {"linear": (300, 200), "convolution": (300, 1000)}
# (name, options) → (shape of the distribution, σ for fan_in, fan_out and gain)
FORMULAS = {
    ("normal", ()): ("normal", lambda i, o, gain: 0.01),
    ("normal", (("std", 0.2),)): ("normal", lambda i, o, gain: 0.2),
    ("xavier_normal", ()): ("normal", lambda i, o, gain: gain * math.sqrt(2 / (i + o))),
    ("xavier_uniform", ()): ("uniform", lambda i, o, gain: gain * math.sqrt(2 / (i + o))),
    ("kaiming_normal", ()): ("normal", lambda i, o, gain: gain / math.sqrt(i)),
    ("kaiming_normal", (("mode", "fan_out"),)): ("normal", lambda i, o, gain: gain / math.sqrt(o)),
    ("kaiming_uniform", ()): ("uniform", lambda i, o, gain: gain / math.sqrt(i)),
    ("kaiming_uniform", (("mode", "fan_out"),)): ("uniform", lambda i, o, gain: gain / math.sqrt(o)),
    ("default", ()): ("uniform", lambda i, o, gain: 1 / math.sqrt(3 * i)),  # ±1/√fan_in, whatever the gain
}
KURTOSIS = {"normal": 3.0, "uniform": 1.8}


def assert_spread(weights, sigma, shape="normal"):
    """Mean 0 and standard deviation σ, each within four of its standard errors."""
    weights = weights.detach().double()
    count = weights.numel()
    assert abs(weights.mean().item()) < 4 * sigma / math.sqrt(count)
    error = sigma * math.sqrt((KURTOSIS[shape] - 1) / (4 * count))
    assert abs(weights.std().item() - sigma) < 4 * error
    assert 4 * error < 0.03 * sigma  # so that √2 and 5/3, fan_in and fan_out are far apart
    outside = (weights.abs() > 1.7320509 * sigma).double().mean().item()
    share = math.erfc(math.sqrt(1.5))  # of a normal distribution beyond √3σ, where a uniform one ends
    expected = share if shape == "normal" else 0.0
    assert abs(outside - expected) <= 4 * math.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2), 5 / 3])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("name", "options"), FORMULAS, ids=str)
def test_the_spread_is_the_formulas(name, options, kind, gain):
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    getattr(init, name)(layer, gain, **dict(options))
    shape, sigma = FORMULAS[name, options]
    assert_spread(layer.weight, sigma(*FANS[kind], gain), shape)
    if name == "default":
        assert torch.equal(layer.weight, before[0])
        assert torch.equal(layer.bias, before[1])
        assert layer.bias.abs().max() <= 1 / math.sqrt(300)
    else:
        assert not layer.bias.any()


def test_there_is_a_formula_for_every_init():
    others = {"zeros", "orthogonal", "trunc_normal", "identity", "dirac", "lsuv", "fixup"}
    assert {name for name, _ in FORMULAS} | others == set(techniques("init"))


@pytest.mark.parametrize("std", [0.02, 0.5])
def test_a_truncated_normal_ends_at_two_deviations(std):
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    init.trunc_normal(layer, 1.5, std=std)
    values, expected = layer.weight.detach().double() / std, stats.truncnorm(-2, 2)
    assert values.abs().max() <= 2
    assert stats.kstest(values.flatten().numpy(), expected.cdf).pvalue > 0.001
    assert values.std().item() == pytest.approx(expected.std(), rel=0.01)
    assert not layer.bias.any()


@pytest.mark.parametrize("name", ["identity", "dirac"])
def test_a_convolution_passes_its_channels_on(name):
    """The first channels stay, further ones are zero; in a grouped one each group passes its own."""
    images = torch.randn(2, 4, 5, 5)
    for outputs, groups, kept in ((6, 1, 4), (3, 1, 3), (4, 4, 4)):
        layer = nn.Conv2d(4, outputs, 3, padding=1, groups=groups)
        getattr(init, name)(layer, 1.5)
        features = layer(images)
        assert torch.equal(features[:, :kept], images[:, :kept])
        assert not features[:, kept:].any()


def test_a_linear_layer_passes_its_inputs_on_with_identity_alone():
    layer, values = nn.Linear(5, 7), torch.randn(3, 5)
    init.identity(layer, 1.5)
    assert torch.equal(layer(values), nn.functional.pad(values, (0, 2)))
    torch.manual_seed(0)
    wide = nn.Linear(300, 200)
    init.dirac(wide, 1.5)
    assert_spread(wide.weight, 1.5 / math.sqrt(300))


@pytest.mark.parametrize(
    "arguments",
    [(), ("model=resnet9", "model.width=4"), ("normalization=weight",), ("normalization=batch", "dropout=0.5")],
    ids=str,
)
def test_lsuv_gives_the_outputs_of_every_layer_variance_1(arguments):
    """Measured on the images that it has seen; the rows stay orthogonal."""
    pixels = torch.randint(0, 256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = Images(pixels, torch.arange(40) % 10, tuple("0123456789"))
    model = build_model(composed("init=lsuv", *arguments), images)
    assert model.training
    model.eval()
    deviations = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _, __, output, name=name: deviations.update({name: output.std().item()}))
            gram = layer.weight.detach().flatten(1)
            gram = gram @ gram.T if len(gram) < len(gram[0]) else gram.T @ gram
            torch.testing.assert_close(gram, gram[0, 0] * torch.eye(len(gram)), rtol=0, atol=1e-4 * gram[0, 0].item())
            assert layer.bias is None or not layer.bias.any()
    model(pixels)
    assert len(deviations) == len(weighted(model)) or "normalization=weight" in arguments
    assert all(value == pytest.approx(1, rel=1e-3) for value in deviations.values())


def test_fixup_scales_the_branches_by_the_rule_of_its_paper():
    """ResNet-18: eight branches of two layers, so 8^(−1/2); the last of each and of the network zero."""
    plain, model = (network(f"init={name}", "model=resnet18", "model.width=2") for name in ("kaiming_normal", "fixup"))
    blocks = [module for module in model.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 8
    first = {id(block.first[0]): 8**-0.5 for block in blocks}
    zero = {id(block.second[0]): 0.0 for block in blocks} | {id(weighted(model)[-1]): 0.0}
    for ours, theirs in zip(weighted(model), weighted(plain), strict=True):
        factor = (first | zero).get(id(ours), 1.0)
        torch.testing.assert_close(ours.weight, factor * theirs.weight)
    assert not model(torch.rand(2, 3, 32, 32)).any()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["init=fixup", "normalization=batch"], "without a normalization: normalization=batch and it stand in for"),
        (
            ["init=fixup", "model=resnet9", "regularization=spectral_norm"],
            "init=fixup has weights of zero, whose norm cannot be",
        ),
        (["init=zeros", "regularization=spectral_norm"], "init=zeros has weights of zero, whose norm cannot be"),
        (["init=lsuv", "regularization=spectral_norm"], "init=lsuv scales weights, which changes nothing there"),
        (
            ["init=lsuv", "normalization=group", "regularization=weight_standardization"],
            "init=lsuv scales weights: leave out regularization=weight_standardization, which undoes it",
        ),
    ],
)
def test_what_an_init_does_not_go_with_is_refused(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        composed(*arguments)


def test_fixup_is_refused_for_a_network_without_branches():
    with pytest.raises(ConfigError, match="made for residual branches: model=lecture_cnn has none, choose"):
        network("init=fixup")


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)], ids=str)
def test_orthogonal_rows_or_columns(shape):
    """W·Wᵀ = gain²·1 for a wide matrix, Wᵀ·W for a tall one."""
    torch.manual_seed(0)
    layer = nn.Linear(shape[1], shape[0]).double()
    init.orthogonal(layer, 1.5)
    weight = layer.weight.detach()
    product = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
    torch.testing.assert_close(product, 2.25 * torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-10)
    assert not layer.bias.any()


def test_orthogonal_filters():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 6, 5).double()
    init.orthogonal(layer, 1.0)
    rows = layer.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-10)


def hidden_weight(*arguments):
    """The linear layer of the lecture's CNN from 400 to 128 units: 51 200 weights."""
    return weighted(network(*arguments))[2].weight


@pytest.mark.parametrize(
    ("arguments", "sigma"),
    [
        (["init=xavier_normal", "activation=relu"], math.sqrt(4 / 528)),  # note 001
        (["init=kaiming_normal", "activation=relu"], math.sqrt(2 / 400)),  # note 001
        (["init=kaiming_normal", "activation=tanh"], 5 / 3 / math.sqrt(400)),
        (["init=kaiming_normal", "activation=sigmoid"], 1 / math.sqrt(400)),
        (
            ["init=kaiming_normal", "activation=leaky_relu", "activation.negative_slope=0.5"],
            math.sqrt(2 / 1.25 / 400),
        ),
        (["init=kaiming_normal", "init.mode=fan_out"], math.sqrt(2 / 128)),
        (["init=xavier_normal", "activation=maxout"], math.sqrt(2 / (400 + 256))),
    ],
    ids=str,
)
def test_in_a_run_the_gain_follows_the_activation(arguments, sigma):
    assert_spread(hidden_weight(*arguments), sigma)


def test_every_convolution_and_linear_layer_is_initialized_from_the_seed():
    first, again, other = (network("init=normal", f"seed={seed}") for seed in (0, 0, 1))
    assert len(weighted(first)) == 4
    assert all(0.008 < layer.weight.std().item() < 0.012 and not layer.bias.any() for layer in weighted(first))
    for one, two, three in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        assert not one.any() or not torch.equal(one, three)


def trained(initialization, optimizer, lr):
    """An MLP 48 → 8 → 8 → 4 with sigmoid units after ten real epochs of four steps: its three weights."""
    small = ("model=mlp", "model.hidden=[8,8]", "activation=sigmoid", "batch_size=10", "epochs=10")
    steps = (f"init={initialization}", f"optimizer={optimizer}", f"lr={lr}", "early_stop_patience=null")
    run = trainer(*small, *steps, shape=(3, 4, 4))
    list(run.train_loop())
    return [layer.weight.detach() for layer in weighted(run.model)]


def largest_difference(weight, dim):
    """Between any unit and the first one along `dim`, as a share of the largest weight."""
    return ((weight - weight.narrow(dim, 0, 1)).abs().max() / weight.abs().max()).item()


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 5.0), ("momentum", 1.0), ("adam", 0.01)])
def test_zeros_leave_the_units_of_a_layer_identical(optimizer, lr):
    """Note 001: "every column of each weight matrix (corresponding to a neuron) will remain identical". torch
    stores them transposed: a unit's incoming weights are a row, its outgoing ones a column of the next matrix.

    Equal units get equal gradients, so forty steps move all units of a layer, and all in the same way.
    """
    first, second, last = trained("zeros", optimizer, lr)
    assert all(weight.abs().max() > 1e-3 for weight in (first, second, last))
    assert max(largest_difference(weight, 0) for weight in (first, second)) < 1e-5
    assert max(largest_difference(weight, 1) for weight in (second, last)) < 1e-5
    assert largest_difference(last, 0) > 0.1  # the classes do differ
    assert largest_difference(first, 1) > 0.1  # and so do the pixels


def test_a_random_start_breaks_the_symmetry():
    for weight in trained("xavier_normal", "sgd", 0.1):
        assert min(largest_difference(weight, dim) for dim in (0, 1)) > 0.5


def test_zeros_with_relu_never_move_a_weight():
    """No unit passes anything on, so only the bias of the last layer has a gradient: all images get the same logits."""
    config = composed("init=zeros", "lr=0.1", "optimizer=sgd", "batch_size=10", "epochs=2")
    # Ten images of the first class, three of the second and the third, none of the fourth: a frequency to learn.
    images = tiny_images(40, (3, 16, 16)).select(torch.tensor([*range(0, 40, 4), 1, 2, 5, 6, 9, 10]))
    run = build_trainer(config, images, tiny_images(8, (3, 16, 16)), torch.device("cpu"))
    list(run.train_loop())
    layers = weighted(run.model)
    assert not any(layer.weight.any() for layer in layers)
    assert not any(layer.bias.any() for layer in layers[:-1])
    assert layers[-1].bias[0] > 0 > layers[-1].bias[3]
