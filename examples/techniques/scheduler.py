"""Learning rates of one's own: a function of (lr, epochs) that returns the rate as a function of the epochs trained.

`epochs` is the length of the run without its warm-up, which every schedule has by scheduler.warmup_epochs.
"""

import math
from collections.abc import Callable

from trainer.config.types import Fraction, NonNegative, OpenFraction


def wsd(lr: float, epochs: float, *, decay: OpenFraction = 0.2, min_lr: NonNegative = 0.0) -> Callable[[float], float]:
    """Warm-up, stable, decay: lr, then for the share `decay` of the run a straight line to min_lr. Hu et al. 2024."""
    return lambda epoch: min_lr + (lr - min_lr) * min(1.0, max(0.0, (epochs - epoch) / (decay * epochs)))


def one_cycle(
    lr: float,
    epochs: float,
    *,
    peak: OpenFraction = 0.3,
    start: OpenFraction = 0.04,
    momenta: tuple[Fraction, Fraction] = (0.85, 0.95),
) -> "OneCycle":
    """One cycle: the rate rises to lr and falls to zero, while the momentum falls and rises. Smith 2018."""
    return OneCycle(lr, epochs, peak, start, momenta)


class OneCycle:
    """A rate with its `momentum`, which the trainer sets beside it. It needs an optimizer with a momentum or betas."""

    def __init__(self, lr: float, epochs: float, peak: float, start: float, momenta: tuple[float, float]) -> None:
        self.lr, self.epochs, self.peak, self.start, self.momenta = lr, epochs, peak, start, momenta

    def __call__(self, epoch: float) -> float:
        lowest = self.start * self.lr if epoch < self.peak * self.epochs else 0.0
        return lowest + (self.lr - lowest) * self._height(epoch)

    def momentum(self, epoch: float) -> float:
        """Return the momentum at a time."""
        low, high = self.momenta
        return high - (high - low) * self._height(epoch)

    def _height(self, epoch: float) -> float:
        """Return 0 at both ends of the run and 1 at the peak, along two half cosine waves."""
        done = min(epoch / self.epochs, 1.0)
        distance = 1 - done / self.peak if done < self.peak else (done - self.peak) / (1 - self.peak)
        return (1 + math.cos(math.pi * distance)) / 2
