"""The learning rate as a function of the time trained, in epochs: 2.5 is the middle of the third epoch.

What the lecture defines by epoch stays constant within one (`int(epoch)`); a cycle moves with every step.
"""

import math
from collections.abc import Callable
from typing import Any

from trainer.kinds import Count, CountOrZero, NonNegative, OpenFraction, Positive

Rule = Callable[[float], float]


def constant(lr: float, epochs: float) -> Rule:
    return lambda epoch: lr


def step(lr: float, epochs: float, *, every: Count = 30, gamma: OpenFraction = 0.1) -> Rule:
    return lambda epoch: lr * gamma ** (int(epoch) // every)


def exponential(lr: float, epochs: float, *, gamma: OpenFraction = 0.95) -> Rule:
    return lambda epoch: lr * gamma ** int(epoch)


def cosine(lr: float, epochs: float, *, minimum: NonNegative = 0.0) -> Rule:
    return lambda epoch: minimum + (lr - minimum) * (1 + math.cos(math.pi * int(epoch) / epochs)) / 2


def linear(lr: float, epochs: float, *, minimum: NonNegative = 0.0) -> Rule:
    return lambda epoch: lr + (minimum - lr) * int(epoch) / epochs


def inverse_sqrt(lr: float, epochs: float) -> Rule:
    return lambda epoch: lr / math.sqrt(int(epoch) + 1)


def cyclic(lr: float, epochs: float, *, minimum: NonNegative = 0.0, period: Positive = 10.0) -> Rule:
    def rule(epoch: float) -> float:
        phase = epoch % period / period
        return minimum + (lr - minimum) * (1 - abs(2 * phase - 1))

    return rule


def listed(lr: float, epochs: float, *, factors: tuple[NonNegative, ...]) -> Rule:
    return lambda epoch: lr * factors[min(int(epoch), len(factors) - 1)]


def plateau(
    lr: float,
    epochs: float,
    *,
    factor: OpenFraction = 0.5,
    patience: CountOrZero = 5,
    min_delta: NonNegative = 1e-4,
    minimum: NonNegative = 0.0,
) -> Rule:
    return Plateau(lr, factor, patience, min_delta, minimum)


class Plateau:
    """Multiplies the rate by `factor` when more than `patience` validations in a row have not improved on the best.

    An improvement is one by more than `min_delta`, relative to the best (torch's ReduceLROnPlateau, mode min).
    """

    def __init__(self, lr: float, factor: float, patience: int, min_delta: float, minimum: float) -> None:
        self.lr, self.factor, self.patience = lr, factor, patience
        self.min_delta, self.minimum = min_delta, minimum
        self.best, self.waited = math.inf, 0

    def __call__(self, epoch: float) -> float:
        return self.lr

    def observe(self, validation_loss: float) -> None:
        if validation_loss < self.best * (1 - self.min_delta):
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.lr, self.waited = min(self.lr, max(self.lr * self.factor, self.minimum)), 0

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.best, self.waited = state["lr"], state["best"], state["waited"]
