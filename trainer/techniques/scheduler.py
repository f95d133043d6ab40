"""The learning rate as a function of the time trained, in epochs: 2.5 is the middle of the third epoch.

What the lecture defines by epoch stays constant within one (`int(epoch)`); a cycle moves with every step.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from trainer.config.types import Count, CountOrZero, NonNegative, OpenFraction, Positive

LRFunction = Callable[[float], float]  # epochs trained → rate


@runtime_checkable
class StatefulLR(Protocol):
    """A learning rate that depends on the validation losses so far; its state is saved and resumed with the run."""

    def __call__(self, epoch: float) -> float: ...

    def observe(self, validation_loss: float) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def constant(lr: float, epochs: float) -> LRFunction:
    return lambda epoch: lr


def step(lr: float, epochs: float, *, step_size: Count = 30, gamma: OpenFraction = 0.1) -> LRFunction:
    return lambda epoch: lr * gamma ** (int(epoch) // step_size)


def exponential(lr: float, epochs: float, *, gamma: OpenFraction = 0.95) -> LRFunction:
    return lambda epoch: lr * gamma ** int(epoch)


def cosine(lr: float, epochs: float, *, min_lr: NonNegative = 0.0) -> LRFunction:
    return lambda epoch: min_lr + (lr - min_lr) * (1 + math.cos(math.pi * int(epoch) / epochs)) / 2


def linear(lr: float, epochs: float, *, min_lr: NonNegative = 0.0) -> LRFunction:
    return lambda epoch: lr + (min_lr - lr) * int(epoch) / epochs


def inverse_sqrt(lr: float, epochs: float) -> LRFunction:
    return lambda epoch: lr / math.sqrt(int(epoch) + 1)


def cyclic(lr: float, epochs: float, *, min_lr: NonNegative = 0.0, period: Positive = 10.0) -> LRFunction:
    def rule(epoch: float) -> float:
        phase = epoch % period / period
        return min_lr + (lr - min_lr) * (1 - abs(2 * phase - 1))

    return rule


def factors(lr: float, epochs: float, *, factors: tuple[NonNegative, ...]) -> LRFunction:
    return lambda epoch: lr * factors[min(int(epoch), len(factors) - 1)]


def plateau(
    lr: float,
    epochs: float,
    *,
    factor: OpenFraction = 0.5,
    patience: CountOrZero = 5,
    min_delta: NonNegative = 1e-4,
    min_lr: NonNegative = 0.0,
) -> LRFunction:
    return Plateau(lr, factor, patience, min_delta, min_lr)


class Plateau:
    """Multiplies the rate by `factor` when more than `patience` validations in a row have not improved on the best.

    An improvement is one by more than `min_delta`, relative to the best (torch's ReduceLROnPlateau, mode min).
    """

    def __init__(self, lr: float, factor: float, patience: int, min_delta: float, min_lr: float) -> None:
        self.lr, self.factor, self.patience = lr, factor, patience
        self.min_delta, self.min_lr = min_delta, min_lr
        self.best, self.waited = math.inf, 0

    def __call__(self, epoch: float) -> float:
        return self.lr

    def observe(self, validation_loss: float) -> None:
        if validation_loss < self.best * (1 - self.min_delta):
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.lr, self.waited = min(self.lr, max(self.lr * self.factor, self.min_lr)), 0

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.best, self.waited = state["lr"], state["best"], state["waited"]
