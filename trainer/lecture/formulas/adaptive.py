"""The update rules with a rate for each weight. W: weights, grad or g: gradient of the loss, lr or η: learning rate."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import along_steps, on
from trainer.lecture.formulas.rule import Rule


def adagrad(W, grad, G, lr=0.001, eps=1e-10):
    G = G + grad**2
    W = W - lr * grad / (np.sqrt(G) + eps)
    return W, G


def adagrad_torch(parameters, lr=0.001, eps=1e-10):
    return torch.optim.Adagrad(parameters, lr=lr, eps=eps)


def rmsprop(W, grad, G, lr=0.001, alpha=0.99, eps=1e-8):
    G = alpha * G + (1 - alpha) * grad**2
    W = W - lr * grad / (np.sqrt(G) + eps)
    return W, G


def rmsprop_torch(parameters, lr=0.001, alpha=0.99):
    return torch.optim.RMSprop(parameters, lr, alpha)


def adam(W, g, m, v, t, lr=1e-3, b=(0.9, 0.999), eps=1e-8):
    m = b[0] * m + (1 - b[0]) * g
    v = b[1] * v + (1 - b[1]) * g**2
    m_hat = m / (1 - b[0] ** t)
    v_hat = v / (1 - b[1] ** t)
    W = W - lr * m_hat / (np.sqrt(v_hat) + eps)
    return W, m, v


def adam_torch(parameters, lr=1e-3, betas=(0.9, 0.999)):
    return torch.optim.Adam(parameters, lr=lr, betas=betas)


def bias_correction(gradients, beta=0.9):
    m, corrected = 0.0, []
    for t, g in enumerate(gradients, start=1):
        m = beta * m + (1 - beta) * g
        corrected.append(m / (1 - beta**t))
    return corrected


def bias_correction_torch(gradients, beta=0.9):
    W, corrected = torch.zeros_like(gradients[0]), []
    optimizer = torch.optim.Adam([W], betas=(beta, 0.999))
    for t, g in enumerate(gradients, start=1):
        W.grad = g
        optimizer.step()
        m = optimizer.state[W]["exp_avg"]
        corrected.append(m / (1 - beta**t))
    return corrected


def adamw(W, g, m, v, t, lr=1e-3, lam=0.01):
    W = (1 - lr * lam) * W  # apart from the gradient
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    m_hat = m / (1 - 0.9**t)
    v_hat = v / (1 - 0.999**t)
    W = W - lr * m_hat / (np.sqrt(v_hat) + 1e-8)
    return W, m, v


def adamw_torch(weights, lr=1e-3, lam=0.01):
    return torch.optim.AdamW(weights, lr, weight_decay=lam)


STEPS = "20 steps with random gradients"
RULES = {
    "adagrad": Rule(
        "Adagrad",
        "G ← G + g²\nW ← W − η·g / (√G + ε)  with G₀ = 0",
        "All operations are for each weight by itself. Note 002:140 has ε inside the root, note 003:253 none; torch "
        "adds it outside. Note 004:474 divides η/√(t + 1) by the root mean square of the gradients so far: the "
        "same.",
        adagrad,
        adagrad_torch,
        along_steps,
        STEPS,
    ),
    "rmsprop": Rule(
        "RMSProp",
        "G ← α·G + (1 − α)·g²\nW ← W − η·g / (√G + ε)  with G₀ = 0, α = 0.99",
        "Note 002:148 has α = 0.9 and ε inside the root, note 003:344 no ε; note 004:511 and torch have it outside. "
        "Note 004:495 starts at G = g² of the first gradient: its first step is η long, not η / √(1 − α) = 10·η.",
        rmsprop,
        rmsprop_torch,
        along_steps,
        STEPS,
    ),
    "adam": Rule(
        "Adam",
        "m ← β₁·m + (1 − β₁)·g       m̂ = m / (1 − β₁ᵗ)\n"
        "v ← β₂·v + (1 − β₂)·g²      v̂ = v / (1 − β₂ᵗ)\n"
        "W ← W − η·m̂ / (√v̂ + ε)",
        "β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸; t counts the steps from 1. Note 003:466 calls the moments v and g, and "
        "leaves ε out.",
        adam,
        adam_torch,
        along_steps,
        STEPS,
    ),
    "bias_correction": Rule(
        "The bias correction of Adam",
        "m ← β·m + (1 − β)·g  with m₀ = 0\nm̂ = m / (1 − βᵗ)",
        "With a constant gradient g, m is (1 − βᵗ)·g, a tenth of it after the first step at β = 0.9; m̂ is g from "
        "the first step on.",
        bias_correction,
        bias_correction_torch,
        on(lambda rng: [rng.standard_normal((20, 3))], times=1),
        "20 steps of torch.optim.Adam, read from its state",
    ),
    "adamw": Rule(
        "Adam with decoupled weight decay",
        "W ← (1 − η·λ)·W − η·m̂ / (√v̂ + ε)  with m̂, v̂ as in Adam",
        "The notes give Adam its weight_decay, which adds λ·W to the gradient: then it is divided by √v̂ as well. "
        "Here the decay is the same for all weights. This goes beyond the notes.",
        adamw,
        adamw_torch,
        along_steps,
        STEPS,
    ),
}
