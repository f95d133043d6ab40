"""The learning-rate range test (Smith 2017, Cyclical Learning Rates for Training Neural Networks)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from trainer.config.run_config import RunConfig
from trainer.data.loader import load
from trainer.errors import NonFiniteError, RunError
from trainer.runtime.files import expanded
from trainer.techniques.hooks import StepHooks, join
from trainer.training.build import build_trainer, pick_device
from trainer.training.lr_schedule import Schedule

SMOOTHING = 0.9  # of the exponential mean over the steps: about ten of them count
DIVERGED = 4.0  # times the lowest smoothed loss, fastai's bound: the test ends there


@dataclass(frozen=True)
class Range:
    """The rate and the loss of each step of a test. `smoothed`: the bias-corrected exponential mean of the losses."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> int:
        """The step (from 0) with the lowest smoothed loss."""
        return min(range(len(self.smoothed)), key=lambda step: self.smoothed[step])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest, before its lowest point."""
        # The rates grow by a constant factor, so a difference between steps is the slope on a logarithmic axis.
        slopes = [after - before for before, after in zip(self.smoothed, self.smoothed[1:], strict=False)]
        before = slopes[: max(self.lowest, 1)]
        return self.rates[min(range(len(before)), key=lambda step: before[step])]

    @property
    def suggestion(self) -> float:
        """The geometric mean of two common choices, to two digits: the steepest rate, and a tenth of the lowest one."""
        return float(f"{math.sqrt(self.steepest * self.rates[self.lowest] / 10):.1e}")

    @property
    def bounds(self) -> tuple[float, float]:
        """The rates between which a cycle may move, to two digits: from half the suggestion to twice as much.

        Smith 2017, section 3.3: the best fixed rate is within a factor of two of the largest that converges, and the
        lower bound a third or a quarter of the upper one.
        """
        return float(f"{self.suggestion / 2:.1e}"), float(f"{self.suggestion * 2:.1e}")


def measure(config: RunConfig, steps: int, low: float, high: float) -> Range:
    """Train for `steps` steps while the rate rises from `low` to `high`, at most until the loss diverges.

    Raises RunError if it diverges at once, or falls at no rate.
    """
    device = pick_device(config.device)
    images = load(config.dataset, expanded(config.data_dir), device)
    training, _ = config.dataset.shared_function()(images, config.split_seed)
    test = _Test(steps)
    trainer = build_trainer(config.eager, training, None, device, test.until_over)
    # Geometric: low^(1 - x) · high^x for x from 0 to 1. It replaces the schedule of the configuration.
    trainer.schedule = Schedule(trainer.optimizer, lambda done: low ** (1 - done) * high**done, max(steps - 1, 1))
    trainer.hooks = join([trainer.hooks, test.watch(trainer.schedule)])
    while not test.over:
        try:
            trainer.do_train()
        except RunError as error:  # a loss that is not finite, which ends the test
            if not (test.over or isinstance(error, NonFiniteError)):
                raise
            break
        trainer.epoch += 1
    if len(test.seen) < 3:
        raise RunError(f"the loss is not finite at lr={low:g} already: the initial weights or the data are at fault")
    result = test.result()
    if result.smoothed[result.lowest] > 0.98 * result.smoothed[0]:
        raise RunError(
            f"the loss falls at no rate from {low:g} to {high:g}: the initial weights or the data are at fault"
        )
    return result


class _Test:
    """The record of a test, filled by a hook in the trainer's own loop: rate and loss of each step."""

    def __init__(self, steps: int) -> None:
        self.steps, self.over = steps, False
        self.seen: list[tuple[float, float, float]] = []  # (rate, loss, smoothed loss) of each step
        self.mean, self.lowest = 0.0, math.inf

    def watch(self, schedule: Schedule) -> StepHooks:
        """Return the hook that records each step: a penalty, because it is called with the logits."""
        return StepHooks(penalty=lambda logits, labels: self.note(schedule.lr, logits, labels))

    def note(self, rate: float, logits: Tensor, labels: Tensor) -> Tensor:
        """Record a step; return a penalty of zero."""
        if self.seen and self.seen[-1][0] == rate:  # a further pass of the same step
            return logits.new_zeros(())
        loss = F.cross_entropy(logits.detach(), labels).item()
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        smoothed = self.mean / (1 - SMOOTHING ** (len(self.seen) + 1))  # the mean starts at 0, as in Adam
        self.lowest = min(self.lowest, smoothed)
        if math.isfinite(smoothed):
            self.seen.append((rate, loss, smoothed))
        self.over = len(self.seen) >= self.steps or not smoothed <= DIVERGED * self.lowest  # true for NaN
        return logits.new_zeros(())

    def until_over(self, batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterator[Any]:
        """Yield the batches of an epoch until the test is over."""
        for batch in batches:
            yield batch
            if self.over:
                return

    def result(self) -> Range:
        """Return the steps as one tuple each of rates, losses and smoothed losses."""
        rates, losses, smoothed = zip(*self.seen, strict=True)
        return Range(rates, losses, smoothed)
