"""The learning rate as a function of the time trained, in epochs: 2.5 is the middle of the third epoch.

Schedules that are defined by epoch are constant within one, hence `int(epoch)`; `cosine_restarts`, `cyclic`,
`one_cycle`, `triangular` and `wsd` change in every step.
`epochs` is the length of the run without its warm-up. A schedule that is an object may have a memory (`StatefulLR`),
which may depend on validation losses (`ObservingLR`), and a cycle of the momentum (`MomentumLR`).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from trainer.config.types import Count, CountOrZero, Fraction, NonNegative, OpenFraction, Positive

LRFunction = Callable[[float], float]  # epochs trained → rate
Point = tuple[float, float]


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


def cosine(lr: float, epochs: float, *, min_lr: NonNegative = 0.0, t_max: Count | None = None) -> LRFunction:
    """Half a cosine wave: min_lr + (lr − min_lr)·(1 + cos(π·epoch / t_max)) / 2. Loshchilov & Hutter 2017.

    The length `t_max` is the run's if it is None; after it the rate rises again, along the same wave.
    """
    length = epochs if t_max is None else t_max
    return lambda epoch: min_lr + (lr - min_lr) * (1 + math.cos(math.pi * int(epoch) / length)) / 2


def cosine_restarts(
    lr: float, epochs: float, *, min_lr: NonNegative = 0.0, period: Positive = 10.0, growth: Count = 2
) -> LRFunction:
    """Half cosine waves, each from lr to min_lr and `growth` times as long as the one before. Loshchilov & Hutter 2017.

    The first is `period` epochs long.
    """

    def rule(epoch: float) -> float:
        since, length = epoch, period  # since the last restart, and to the next one
        if growth == 1:
            since = epoch % period
        while since >= length:
            since, length = since - length, length * growth
        return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * since / length)) / 2

    return rule


def polynomial(lr: float, epochs: float, *, power: Positive = 0.9, min_lr: NonNegative = 0.0) -> LRFunction:
    """Polynomial decay: min_lr + (lr − min_lr)·(1 − epoch / epochs)^power. Chen et al. 2018."""
    return lambda epoch: min_lr + (lr - min_lr) * max(0.0, 1 - int(epoch) / epochs) ** power


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


def wsd(
    lr: float,
    epochs: float,
    *,
    decay: OpenFraction = 0.2,
    shape: Literal["linear", "sqrt"] = "linear",
    min_lr: NonNegative = 0.0,
) -> LRFunction:
    """Warm-up, stable, decay: lr, and in the last share `decay` of the run down to min_lr. Hu et al. 2024.

    With d from 0 to 1 over the decay the rate falls as 1 − d, or as 1 − √d (Hägele et al. 2024).
    """

    def rule(epoch: float) -> float:
        done = min(1.0, max(0.0, 1 - (1 - epoch / epochs) / decay))
        return min_lr + (lr - min_lr) * (1 - (math.sqrt(done) if shape == "sqrt" else done))

    return rule


def one_cycle(
    lr: float,
    epochs: float,
    *,
    peak: OpenFraction = 0.3,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
    cycle_momentum: bool = True,
    momenta: tuple[Fraction, Fraction] = (0.85, 0.95),
) -> LRFunction:
    """One cycle: the rate rises to lr and falls to nearly zero, while the momentum falls and rises. Smith & Topin 2018.

    `momenta`: that at the highest rate, and that at both ends.
    """
    first = lr / div_factor
    points = ((0.0, first), (peak * epochs, lr), (epochs, first / final_div_factor))
    if not cycle_momentum:
        return lambda epoch: _along_cosines(points, epoch)
    low, high = momenta
    return OneCycle(points, ((0.0, high), (peak * epochs, low), (epochs, high)))


class OneCycle:
    """A rate and a momentum that follow half cosine waves between points (epoch, value)."""

    def __init__(self, rates: Sequence[Point], momenta: Sequence[Point]) -> None:
        self.rates, self.momenta = rates, momenta

    def __call__(self, epoch: float) -> float:
        return _along_cosines(self.rates, epoch)

    def momentum(self, epoch: float) -> float:
        """Return the momentum of this time."""
        return _along_cosines(self.momenta, epoch)


def _along_cosines(points: Sequence[Point], time: float) -> float:
    """Return the value at a time: between two points half a cosine wave, after the last one its value."""
    for (begin, first), (end, last) in itertools.pairwise(points):
        if time < end:
            return last + (first - last) * (1 + math.cos(math.pi * (time - begin) / (end - begin))) / 2
    return points[-1][1]


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
