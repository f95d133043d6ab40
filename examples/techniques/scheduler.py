"""Learning rates of one's own: a function of (lr, epochs) that returns the rate as a function of the epochs trained.

`epochs` is the length of the run without its warm-up, which every schedule has by scheduler.warmup_epochs.
"""

import math
from collections.abc import Callable

from trainer.config.types import OpenFraction


def tanh_decay(lr: float, epochs: float, *, bounds: tuple[float, float] = (-6.0, 3.0)) -> Callable[[float], float]:
    """A slow start, a fall and a slow end: lr·(1 − tanh(x)) / 2 with x from the lower bound to the upper one.

    Hsueh et al. 2019.
    """
    lower, upper = bounds
    return lambda epoch: lr * (1 - math.tanh(lower + (upper - lower) * epoch / epochs)) / 2


def demon(lr: float, epochs: float, *, momentum: OpenFraction = 0.9) -> "Demon":
    """A constant rate with a momentum that falls to zero. Chen et al. 2022."""
    return Demon(lr, epochs, momentum)


class Demon:
    """A rate with its `momentum`, which the trainer sets beside it. It needs an optimizer with a momentum or betas."""

    def __init__(self, lr: float, epochs: float, momentum: float) -> None:
        self.lr, self.epochs, self.first = lr, epochs, momentum

    def __call__(self, epoch: float) -> float:
        return self.lr

    def momentum(self, epoch: float) -> float:
        """Return β·r / (1 − β + β·r), r being the share of the run that is left."""
        left = max(0.0, 1 - epoch / self.epochs)
        return self.first * left / (1 - self.first + self.first * left)
