"""The learning rate as a function of the time trained, in epochs: 2.5 is the middle of the third epoch.

Schedules that are defined by epoch are constant within one, hence `int(epoch)`; `cyclic` and `triangular` change in
every step.
`epochs` is the length of the run without its warm-up. A schedule that is an object may have a memory (`StatefulLR`),
which may depend on validation losses (`ObservingLR`), and a cycle of the momentum (`MomentumLR`).
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from trainer.config.types import Count, CountOrZero, NonNegative, OpenFraction, Positive

LRFunction = Callable[[float], float]  # epochs trained → rate


@runtime_checkable
class StatefulLR(Protocol):
    """A learning rate with a memory, which is saved and resumed with the run. A call changes nothing in it."""

    def __call__(self, epoch: float) -> float: ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""


@runtime_checkable
class ObservingLR(Protocol):
    """A learning rate that depends on the validation losses so far, which it remembers in its state."""

    def observe(self, validation_loss: float) -> None:
        """Take the loss of a validation into account."""


@runtime_checkable
class MomentumLR(Protocol):
    """A learning rate with a cycle of the optimizer's momentum: of `momentum` or the first of `betas`."""

    def momentum(self, epoch: float) -> float:
        """Return the momentum of this time."""


def constant(lr: float, epochs: float) -> LRFunction:
    """The same rate throughout."""
    return lambda epoch: lr


def step(lr: float, epochs: float, *, step_size: Count = 30, gamma: OpenFraction = 0.1) -> LRFunction:
    """Steps: lr·γ^⌊epoch / step_size⌋."""
    return lambda epoch: lr * gamma ** (int(epoch) // step_size)


def exponential(lr: float, epochs: float, *, gamma: OpenFraction = 0.95) -> LRFunction:
    """Exponential decay: lr·γ^epoch."""
    return lambda epoch: lr * gamma ** int(epoch)


def cosine(lr: float, epochs: float, *, min_lr: NonNegative = 0.0) -> LRFunction:
    """Half a cosine wave: min_lr + (lr − min_lr)·(1 + cos(π·epoch / epochs)) / 2. Loshchilov & Hutter 2017."""
    return lambda epoch: min_lr + (lr - min_lr) * (1 + math.cos(math.pi * int(epoch) / epochs)) / 2


def linear(lr: float, epochs: float, *, min_lr: NonNegative = 0.0) -> LRFunction:
    """A straight line: lr + (min_lr − lr)·epoch / epochs."""
    return lambda epoch: lr + (min_lr - lr) * int(epoch) / epochs


def inverse_sqrt(lr: float, epochs: float) -> LRFunction:
    """Decay with the inverse root: lr / √(epoch + 1)."""
    return lambda epoch: lr / math.sqrt(int(epoch) + 1)


def cyclic(lr: float, epochs: float, *, min_lr: NonNegative = 0.0, period: Positive = 10.0) -> LRFunction:
    """A triangle from min_lr up to lr and back in every period. Smith 2017."""

    def rule(epoch: float) -> float:
        phase = epoch % period / period  # from 0 to 1; the rate is highest at a half
        return min_lr + (lr - min_lr) * (1 - abs(2 * phase - 1))

    return rule


def triangular(lr: float, epochs: float, *, min_lr: NonNegative = 0.0, peak: OpenFraction = 0.2) -> LRFunction:
    """One triangle: from min_lr up to lr at the share `peak` of the run, then back to min_lr at its end. Page 2018."""

    def rule(epoch: float) -> float:
        done = epoch / epochs  # from 0 to 1, beyond if a finished run continues
        return min_lr + (lr - min_lr) * max(0.0, min(done / peak, (1 - done) / (1 - peak)))

    return rule


def factors(lr: float, epochs: float, *, factors: tuple[NonNegative, ...]) -> LRFunction:
    """A factor for each epoch: lr·factors[epoch]; the last one holds from there on."""
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
    """A rate that is multiplied by `factor` each time the validation loss has stopped improving."""
    return Plateau(lr, factor, patience, min_delta, min_lr)


class Plateau:
    """A rate that is multiplied by `factor` when more than `patience` validations in a row have not improved.

    An improvement is a loss lower than the best by more than the share `min_delta` (torch's ReduceLROnPlateau, mode
    min).
    """

    def __init__(self, lr: float, factor: float, patience: int, min_delta: float, min_lr: float) -> None:
        self.lr, self.factor, self.patience = lr, factor, patience
        self.min_delta, self.min_lr = min_delta, min_lr
        self.best, self.waited = math.inf, 0

    def __call__(self, epoch: float) -> float:
        return self.lr

    def observe(self, validation_loss: float) -> None:
        """Count a validation without improvement, and lower the rate after too many of them."""
        if validation_loss < self.best * (1 - self.min_delta):
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            # min: a rate that is below min_lr already is not raised to it.
            self.lr, self.waited = min(self.lr, max(self.lr * self.factor, self.min_lr)), 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"lr": self.lr, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.lr, self.best, self.waited = state["lr"], state["best"], state["waited"]
