"""The activation functions of the notes, and the gradient that passes through many of them. x: before activation."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import on
from trainer.lecture.formulas.rule import Rule


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_torch(x):
    return torch.sigmoid(x)


def tanh(x):
    up, down = np.exp(x), np.exp(-x)
    return (up - down) / (up + down)


def tanh_torch(x):
    return torch.tanh(x)


def relu(x):
    return np.maximum(0, x)


def relu_torch(x):
    return torch.relu(x)


def leaky_relu(x, slope=0.01):
    return np.where(x > 0, x, slope * x)


def leaky_relu_torch(x, slope=0.01):
    return torch.nn.functional.leaky_relu(x, slope)


def elu(x, alpha=1.0):
    return np.where(x >= 0, x, alpha * (np.exp(x) - 1))


def elu_torch(x, alpha=1.0):
    return torch.nn.functional.elu(x, alpha)


def maxout(x, W1, b1, W2, b2):
    return np.maximum(x @ W1.T + b1, x @ W2.T + b2)


def maxout_torch(x, W1, b1, W2, b2):
    first = torch.nn.functional.linear(x, W1, b1)
    second = torch.nn.functional.linear(x, W2, b2)
    return torch.maximum(first, second)


def vanishing_gradient(x, weights):
    a = [x]  # the input, then the output of each layer
    for W in weights:
        a.append(1 / (1 + np.exp(-a[-1] @ W.T)))
    signal, norms = np.ones_like(a[-1]), []
    for i in reversed(range(len(weights))):
        slope = a[i + 1] * (1 - a[i + 1])  # σ′ ≤ 1/4
        signal = signal * slope
        norms.insert(0, np.linalg.norm(signal.T @ a[i]))
        signal = signal @ weights[i]
    return norms  # of the gradient of each layer's weights


def vanishing_gradient_torch(x, weights):
    weights = [W.requires_grad_() for W in weights]
    for W in weights:
        x = torch.sigmoid(x @ W.T)
    x.sum().backward()
    return [W.grad.norm() for W in weights]


VALUES = on(lambda rng: [rng.standard_normal((20, 5))])
TRIED = "1000 random numbers"
RULES = {
    "sigmoid": Rule(
        "Sigmoid",
        "σ(x) = 1 / (1 + e⁻ˣ)\nσ′(x) = σ(x)·(1 − σ(x)) ≤ 1/4",
        "The slope is near 0 for large |x|, and all outputs are above 0.",
        sigmoid,
        sigmoid_torch,
        VALUES,
        TRIED,
    ),
    "tanh": Rule(
        "Hyperbolic tangent",
        "tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ) = 2·σ(2·x) − 1\ntanh′(x) = 1 − tanh²(x) ≤ 1",
        "The outputs lie around 0.",
        tanh,
        tanh_torch,
        VALUES,
        TRIED,
    ),
    "relu": Rule(
        "ReLU",
        "ReLU(x) = max(0, x)",
        "The slope is 1 above 0, and 0 below: a unit that is below 0 for all examples gets no gradient and stays as "
        "it is.",
        relu,
        relu_torch,
        VALUES,
        TRIED,
    ),
    "leaky_relu": Rule(
        "Leaky ReLU",
        "f(x) = x  for x > 0,  else  a·x  with a = 0.01",
        "The slope below 0 is small but not 0, so that no unit is without a gradient. Note 002:18 names it and "
        "gives no slope.",
        leaky_relu,
        leaky_relu_torch,
        VALUES,
        TRIED,
    ),
    "elu": Rule(
        "ELU",
        "f(x) = x  for x ≥ 0,  else  α·(eˣ − 1)  with α = 1",
        "",
        elu,
        elu_torch,
        VALUES,
        TRIED,
    ),
    "maxout": Rule(
        "Maxout",
        "f(x) = max(w₁ᵀx + b₁, w₂ᵀx + b₂)",
        "A unit with two sets of weights; ReLU is the case w₂ = 0, b₂ = 0.",
        maxout,
        maxout_torch,
        on(lambda rng: [rng.standard_normal(shape) for shape in ((8, 5), (3, 5), (3,), (3, 5), (3,))]),
        "10 random batches and layers",
    ),
    "vanishing_gradient": Rule(
        "The gradient through many layers",
        "zₗ = Wₗ·aₗ₋₁,  aₗ = σ(zₗ)\nδₗ = (Wₗ₊₁ᵀ·δₗ₊₁) ⊙ σ′(zₗ),  σ′ ≤ 1/4\n∂L/∂Wₗ = δₗ·aₗ₋₁ᵀ",
        "Each layer of sigmoids multiplies by at most 1/4: with usual weights the gradient of the first layers "
        "almost vanishes. Note 004:378 has it as a picture.",
        vanishing_gradient,
        vanishing_gradient_torch,
        on(lambda rng: [rng.standard_normal((6, 5)), [rng.standard_normal((5, 5)) for _ in range(8)]]),
        "10 random networks of 8 layers, torch by backward()",
    ),
}
