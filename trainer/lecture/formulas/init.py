"""The first weights of a layer. z: standard normal numbers [units, inputs]."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import difference, on
from trainer.lecture.formulas.rule import Form, Rule


def xavier_normal(z):
    n_o, n_i = z.shape  # rows are units
    sigma = np.sqrt(4 / (n_i + n_o))
    return sigma * z


def xavier_normal_torch(w):
    gain = torch.nn.init.calculate_gain("relu")  # √2
    return torch.nn.init.xavier_normal_(w, gain=gain)


def kaiming_normal(z):
    n = z.shape[1]  # units of the previous layer, "fan in"
    sigma = np.sqrt(2 / n)
    return sigma * z


def kaiming_normal_torch(w):
    return torch.nn.init.kaiming_normal_(
        w,
        mode="fan_in",
        nonlinearity="relu",
    )


def zeros(X, y, units=4, lr=0.5, steps=20):
    W1, W2 = np.zeros((units, X.shape[1])), np.zeros(units)
    for _ in range(steps):
        h = 1 / (1 + np.exp(-X @ W1.T))
        error = (h @ W2 - y) / len(y)
        slope = np.outer(error, W2) * h * (1 - h)
        W2 = W2 - lr * h.T @ error
        W1 = W1 - lr * slope.T @ X
    return W1  # all rows are equal


def zeros_torch(X, y, units=4, lr=0.5, steps=20):
    W1 = X.new_zeros(units, X.shape[1], requires_grad=True)
    W2 = X.new_zeros(units, requires_grad=True)
    optimizer = torch.optim.SGD([W1, W2], lr=lr)
    for _ in range(steps):
        error = torch.sigmoid(X @ W1.T) @ W2 - y
        loss = error.square().mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return W1


def _same_numbers(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare with the normal numbers that torch draws itself after the same seed."""
    largest = 0.0
    for seed in range(10):
        shape = tuple(rng.integers(3, 50, 2))
        torch.manual_seed(seed)
        z = torch.randn(shape, dtype=torch.float64).numpy()
        torch.manual_seed(seed)
        largest = max(largest, difference(numpy(z), pytorch(torch.empty(shape, dtype=torch.float64))))
    return largest


RULES = {
    "xavier_normal": Rule(
        "Xavier initialization",
        "w ~ N(0, σ²),  σ = √(4 / (nᵢ + nₒ))  for ReLU",
        "nᵢ, nₒ: units of the previous and of the current layer. Without ReLU's gain of √2 it is σ = √(2 / (nᵢ + "
        "nₒ)). z: standard normal numbers.",
        xavier_normal,
        xavier_normal_torch,
        _same_numbers,
        "10 layers of random size with the same random numbers",
    ),
    "kaiming_normal": Rule(
        "Kaiming initialization",
        "w ~ N(0, σ²),  σ = √(2 / n)  for ReLU",
        "n: units of the previous layer (fan in) or of the current one (fan out). ReLU sets half of its inputs to "
        "0; the 2 makes up for it. z: standard normal numbers.",
        kaiming_normal,
        kaiming_normal_torch,
        _same_numbers,
        "10 layers of random size with the same random numbers",
    ),
    "zeros": Rule(
        "Zeros never break the symmetry",
        "W₁ = 0, W₂ = 0\n⇒ all units of a layer: same output, same gradient, same step\n⇒ they stay equal",
        "The functions train such a network and return W₁, a row for each unit. Note 001:80 has the units in "
        "columns; torch has them in rows (001:85).",
        zeros,
        zeros_torch,
        on(lambda rng: [rng.standard_normal((30, 5)), rng.standard_normal(30)], times=2),
        "2 random regressions, W₁ after 20 steps",
    ),
}
