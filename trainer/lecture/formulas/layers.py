"""Normalization and dropout as the notes give them. x: a batch, an example a row."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import difference, on
from trainer.lecture.formulas.rule import Form, Rule


def batch_norm(x, gamma, beta, eps=1e-5):
    mean = np.mean(x, axis=0)  # over the batch
    var = np.var(x, axis=0)
    x_norm = (x - mean) / np.sqrt(var + eps)
    return gamma * x_norm + beta


def batch_norm_torch(x, gamma, beta, eps=1e-5):
    layer = torch.nn.BatchNorm1d(x.shape[1], eps).double()
    layer.weight.data, layer.bias.data = gamma, beta
    return layer.train()(x)  # train: means of this batch


def batch_norm_running(batches, m=0.1):
    mean, var = 0.0, 1.0
    for x in batches:
        batch_var = x.var(axis=0, ddof=1)  # over n − 1
        mean = (1 - m) * mean + m * x.mean(axis=0)
        var = (1 - m) * var + m * batch_var
    return mean, var


def batch_norm_running_torch(batches, m=0.1):
    features = batches.shape[2]
    layer = torch.nn.BatchNorm1d(features, momentum=m)
    layer.double().train()
    for x in batches:
        layer(x)
    return layer.running_mean, layer.running_var


def layer_norm(x, gamma, beta, eps=1e-5):
    mean = np.mean(x, axis=1, keepdims=True)  # one example
    var = np.var(x, axis=1, keepdims=True)
    x_norm = (x - mean) / np.sqrt(var + eps)
    return gamma * x_norm + beta


def layer_norm_torch(x, gamma, beta, eps=1e-5):
    layer = torch.nn.LayerNorm(x.shape[1], eps=eps)
    layer.weight.data, layer.bias.data = gamma, beta
    return layer(x)


def dropout(x, r, p=0.5, training=True):
    if not training:
        return x
    # r = np.random.rand(*x.shape)
    mask = (r > p).astype(float)
    return x * mask / (1 - p)


def dropout_torch(x, p=0.5, training=True):
    layer = torch.nn.Dropout(p)
    layer.train(training)  # layer.eval() is training=False
    return layer(x)


def dropout_expectation(x, w, p=0.4):
    expectation = 0.0
    for mask in np.ndindex(*[2] * len(x)):  # all masks
        kept = sum(mask)
        chance = (1 - p) ** kept * p ** (len(x) - kept)
        output = w @ (x * np.array(mask)) / (1 - p)
        expectation += chance * output
    return expectation


def dropout_expectation_torch(x, w, p=0.4):
    layer = torch.nn.Dropout(p).eval()  # drops nothing
    return w @ layer(x)


def thinned_average(x, W1, W2, masks, p=0.5):
    hidden = np.maximum(0, x @ W1.T)
    outputs = []
    for mask in masks:  # each mask makes a thinned network
        outputs.append((hidden * mask / (1 - p)) @ W2.T)
    return np.mean(outputs, axis=0)


def thinned_average_torch(model, x, networks=50):
    model.train()  # a new mask in each pass
    outputs = [model(x) for _ in range(networks)]
    return torch.stack(outputs).mean(dim=0)


def _batch_and_scales(rng: np.random.Generator) -> list[object]:
    return [rng.standard_normal((16, 5)), rng.standard_normal(5), rng.standard_normal(5)]


def _with_the_same_mask(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare under the mask that torch has drawn, and in evaluation mode."""
    x, largest = rng.standard_normal((100, 20)), 0.0
    for p in (0.2, 0.5, 0.8):
        drawn = pytorch(torch.tensor(x), p=p)
        kept = (drawn != 0).numpy()
        if abs(kept.mean() - (1 - p)) > 5 * np.sqrt(p * (1 - p) / x.size):  # five standard deviations of the share
            return np.inf
        off = pytorch(torch.tensor(x), p=p, training=False)
        largest = max(largest, difference([numpy(x, kept * 1.0, p), numpy(x, kept, p, training=False)], [drawn, off]))
    return largest


def _of_the_same_networks(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare the averages over the masks that torch has drawn, which a hook on its dropout layer records."""
    x, masks = rng.standard_normal((7, 6)), []
    first, dropped, last = torch.nn.Linear(6, 8, bias=False), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3, bias=False)
    model = torch.nn.Sequential(first, torch.nn.ReLU(), dropped, last).double()
    dropped.register_forward_hook(lambda _, inputs, output: masks.append((output != 0).numpy()))
    drawn = pytorch(model, torch.tensor(x), networks=30)
    return difference(numpy(x, first.weight.detach().numpy(), last.weight.detach().numpy(), masks), drawn)


RULES = {
    "batch_norm": Rule(
        "Batch normalization",
        "μ = mean(x),  σ² = var(x)  over the mini-batch, for each feature\nx̂ = (x − μ) / √(σ² + ε)\ny = γ·x̂ + β",
        "γ and β are learned; ε = 10⁻⁵. In evaluation μ and σ² are running averages from the training.",
        batch_norm,
        batch_norm_torch,
        on(_batch_and_scales),
        "10 random batches",
    ),
    "batch_norm_running": Rule(
        "The running averages of batch normalization",
        "μ_run ← (1 − m)·μ_run + m·mean(x)\nσ²_run ← (1 − m)·σ²_run + m·Σ(x − μ)² / (n − 1)",
        "m = 0.1. torch averages the unbiased variance, divided by n − 1. Note 000:114 averages np.var, which "
        "divides by n, and 000:119 does not return what it has averaged.",
        batch_norm_running,
        batch_norm_running_torch,
        on(lambda rng: [rng.standard_normal((30, 16, 5))]),
        "10 runs of 30 random batches",
    ),
    "layer_norm": Rule(
        "Layer normalization",
        "μ = mean(x),  σ² = var(x)  over the features of one example\ny = γ·(x − μ) / √(σ² + ε) + β",
        "There is no batch in it and no running average. Note 003:28 names it and gives no formula.",
        layer_norm,
        layer_norm_torch,
        on(_batch_and_scales),
        "10 random batches",
    ),
    "dropout": Rule(
        "Inverted dropout",
        "training:    y = x·mask / (1 − p),  mask = 1 with chance 1 − p\nevaluation:  y = x",
        "p is the chance to be dropped. Note 003:1139 has mask = r < p, which keeps the share p, and scales by 1 / "
        "(1 − p): right only for p = 1/2. Note 004:763 does not scale in training and multiplies the weights by 1 − "
        "p afterwards.",
        dropout,
        dropout_torch,
        _with_the_same_mask,
        "2000 values with torch's mask at p = 0.2, 0.5 and 0.8",
    ),
    "dropout_expectation": Rule(
        "Why dropout is scaled",
        "a = Σᵢ wᵢ·xᵢ·maskᵢ / (1 − p)\nE[a] = Σ (1 − p)^kept · p^dropped · a  over all masks\n     = Σᵢ wᵢ·xᵢ",
        "On average the unit gets in training what it gets in evaluation (003:1185).",
        dropout_expectation,
        dropout_expectation_torch,
        on(lambda rng: [rng.standard_normal(6), rng.standard_normal(6)]),
        "10 random units, all 64 masks of each, against torch in evaluation mode",
    ),
    "thinned_average": Rule(
        "Dropout as an ensemble",
        "ŷ = (1/K)·Σₖ f(x; maskₖ)  ≈  f(x; no mask)",
        "Each mask makes a thinned network; the whole one stands for their average (003:1077, 004:767). The mean "
        "over all masks is exact if one linear layer follows the mask, and near if others follow.",
        thinned_average,
        thinned_average_torch,
        _of_the_same_networks,
        "30 thinned networks with torch's masks",
    ),
}
