"""Descent, momentum and weight decay. W: weights, grad or g: the gradient of the loss, lr or η: the learning rate."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import along_steps, difference, on
from trainer.lecture.formulas.rule import Form, Rule


def gradient_descent(x, lr, iterations=10):
    path = [x]
    for _ in range(iterations):
        x = x - lr * 2 * x  # f(x) = x², so f′(x) = 2x
        path.append(x)
    return path


def gradient_descent_torch(x, lr, iterations=10):
    path, x = [x], torch.tensor(x, dtype=torch.double)
    optimizer = torch.optim.SGD([x], lr=lr)
    x.requires_grad_()
    for _ in range(iterations):
        optimizer.zero_grad()
        (x**2).backward()
        optimizer.step()
        path.append(x.item())
    return path


def mini_batch(X, y, w, batch):
    errors = X[batch] @ w - y[batch]
    return 2 * X[batch].T @ errors / len(batch)


def mini_batch_torch(X, y, w, batch):
    w.requires_grad_()
    outputs = X[batch] @ w
    loss = torch.nn.functional.mse_loss(outputs, y[batch])
    loss.backward()
    return w.grad


def sgd(W, grad, lr=0.01):
    return W - lr * grad


def sgd_torch(parameters, lr=0.01):
    return torch.optim.SGD(parameters, lr=lr)


def momentum(W, grad, v, lr=0.01, beta=0.9):
    v = beta * v + grad
    W = W - lr * v
    return W, v


def momentum_torch(parameters, lr=0.01, beta=0.9):
    return torch.optim.SGD(parameters, lr, momentum=beta)


def momentum_note_003(theta, grad, v, gamma=0.01, mu=0.9):
    v = mu * v + gamma * grad
    theta = theta - v
    return theta, v


def momentum_note_003_torch(weights, gamma=0.01, mu=0.9):
    # the same path only while gamma is constant
    return torch.optim.SGD(weights, lr=gamma, momentum=mu)


def momentum_note_004(W, grad, v, alpha=0.01, beta=0.9):
    v = beta * v + (1 - beta) * grad
    W = W - alpha * v
    return W, v


def momentum_note_004_torch(weights, alpha=0.01, beta=0.9):
    lr = alpha * (1 - beta)
    return torch.optim.SGD(weights, lr, momentum=beta)


def nesterov(W, gradient, v, lr=0.01, beta=0.9):
    ahead = W - lr * beta * v  # the momentum alone
    v = beta * v + gradient(ahead)
    W = W - lr * v
    return W, v


def nesterov_torch(parameters, lr=0.01, beta=0.9):
    return torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=beta,
        nesterov=True,
    )


def weight_decay(W, b, grad_W, grad_b, lr=0.01, lam=1e-3):
    W = (1 - lr * lam) * W - lr * grad_W
    b = b - lr * grad_b  # the bias is not decayed
    return W, b


def weight_decay_torch(layer, lr=0.01, lam=1e-3):
    groups = [
        {"params": [layer.weight], "weight_decay": lam},
        {"params": [layer.bias], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr)


def _linear_batch(rng: np.random.Generator) -> list[object]:
    return [rng.standard_normal((50, 6)), rng.standard_normal(50), rng.standard_normal(6), rng.permutation(50)[:16]]


def _at_the_point_ahead(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare on a quadratic: torch keeps the point ahead, W − lr·beta·v, in place of W."""
    root, W, v = rng.standard_normal((4, 4)), rng.standard_normal(4), np.zeros(4)
    ahead, largest = torch.nn.Parameter(torch.tensor(W)), 0.0
    optimizer = pytorch([ahead], lr=0.01, beta=0.9)
    for _ in range(20):
        W, v = numpy(W, lambda point: root @ root.T @ point, v, lr=0.01, beta=0.9)
        ahead.grad = torch.tensor(root @ root.T @ ahead.detach().numpy())
        optimizer.step()
        largest = max(largest, difference(W - 0.01 * 0.9 * v, ahead))
    return largest


def _weights_and_biases(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    layer = torch.nn.Linear(4, 3, dtype=torch.float64)
    W, b, largest = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy(), 0.0
    optimizer = pytorch(layer)
    for _ in range(20):
        grad_W, grad_b = rng.standard_normal(W.shape), rng.standard_normal(b.shape)
        W, b = numpy(W, b, grad_W, grad_b)
        layer.weight.grad, layer.bias.grad = torch.tensor(grad_W), torch.tensor(grad_b)
        optimizer.step()
        largest = max(largest, difference([W, b], [layer.weight, layer.bias]))
    return largest


STEPS = "20 steps with random gradients"
RULES = {
    "gradient_descent": Rule(
        "Gradient descent on f(x) = x²",
        "x ← x − η·f′(x)  with f(x) = x², f′(x) = 2·x\nafter t steps:  x = (1 − 2·η)ᵗ·x₀",
        "So x falls for rates between 0 and 1, fastest at η = 1/2, and grows without end above 1.",
        gradient_descent,
        gradient_descent_torch,
        on(lambda rng: [rng.standard_normal(), rng.uniform(0, 0.9)]),
        "10 random starts and rates",
    ),
    "mini_batch": Rule(
        "The gradient of a mini-batch",
        "∇L̂ = (1/b)·Σᵢ ∇l(w, xᵢ, yᵢ)  over the b examples of the batch\n"
        "w ← w − η·∇L̂\n"
        "Var[∇L̂] = Var[∇l] / b  if they are drawn independently",
        "Here l is the squared error of a linear model. Note 003:50 sums over the batch, note 004:232 takes the "
        "mean: the sum is the mean at a rate b times as large.",
        mini_batch,
        mini_batch_torch,
        on(_linear_batch),
        "10 random batches of 16 examples",
    ),
    "sgd": Rule(
        "Stochastic gradient descent",
        "W ← W − η·g  with g = ∇L of a mini-batch",
        "",
        sgd,
        sgd_torch,
        along_steps,
        STEPS,
    ),
    "momentum": Rule(
        "Momentum",
        "v ← β·v + g\nW ← W − η·v  with v₀ = 0, β = 0.9",
        "Under a constant gradient the step grows to η·g / (1 − β), ten times as long. Note 003:133 has v ← μ·v + "
        "γ·g, θ ← θ − v: equal while the rate is constant. Note 004:361 has v ← β·v + (1 − β)·g: equal at a rate of "
        "η / (1 − β).",
        momentum,
        momentum_torch,
        along_steps,
        STEPS,
    ),
    "momentum_note_003": Rule(
        "Momentum with the rate inside v",
        "v ← μ·v + γ·g\nθ ← θ − v  with v₀ = 0, γ the learning rate",
        "Notes 000:24 and 002:60 keep the rate outside: v ← β·v + g, W ← W − η·v. Both are equal only while the "
        "rate is constant: after a change of the rate, v still holds the old gradients at their old rate. Note "
        "004:318 is the same with the sign in v: v ← λ·v − η·∇L, θ ← θ + v.",
        momentum_note_003,
        momentum_note_003_torch,
        along_steps,
        f"{STEPS} at a constant rate",
    ),
    "momentum_note_004": Rule(
        "Momentum as a moving average of the gradients",
        "v ← β·v + (1 − β)·g\nW ← W − α·v  with v₀ = 0",
        "Here v has the size of one gradient. torch has v ← β·v + g: equal at a rate of α·(1 − β), a tenth for β = "
        "0.9.",
        momentum_note_004,
        momentum_note_004_torch,
        along_steps,
        STEPS,
    ),
    "nesterov": Rule(
        "Nesterov's momentum",
        "v ← β·v + ∇J(W − η·β·v)\nW ← W − η·v  with v₀ = 0",
        "The gradient is taken at the point to which the momentum alone would lead. Note 002:68 prints ∇J(w + γ·v): "
        "the sign is the other way round, as W moves by −η·v, and the rate is missing. torch keeps the point ahead "
        "as its weights.",
        nesterov,
        nesterov_torch,
        _at_the_point_ahead,
        "20 steps on a random quadratic, at the point ahead",
    ),
    "weight_decay": Rule(
        "Weight decay",
        "L′ = L + (λ/2)·‖W‖²,  ∂L′/∂W = ∂L/∂W + λ·W\nW ← (1 − η·λ)·W − η·∂L/∂W\nb ← b − η·∂L/∂b",
        "Biases are not decayed (003:791, 004:690). Note 000:136 writes λ·‖W‖², whose gradient is 2·λ·W: its second "
        "method (000:142) decays twice as much as torch's weight_decay of the same λ.",
        weight_decay,
        weight_decay_torch,
        _weights_and_biases,
        STEPS,
    ),
}
