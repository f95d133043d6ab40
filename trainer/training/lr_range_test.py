"""The learning-rate range test. Smith 2017, Cyclical Learning Rates."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.errors import NonFiniteError, RunError
from trainer.runtime.files import expanded
from trainer.techniques.hooks import StepHooks

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.config.run_config import RunConfig
    from trainer.training.lr_schedule import Schedule

SMOOTHING = 0.9  # of the exponential mean over the steps: ten of them count

DIVERGED = 4.0  # times the lowest smoothed loss (fastai's bound): nothing is to be seen behind it


@dataclass(frozen=True)
class Range:
    """What the test saw: the rate and the loss of each step. `smoothed` is the bias-corrected exponential mean."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> int:
        """The step with the lowest smoothed loss."""
        return min(range(len(self.smoothed)), key=lambda step: self.smoothed[step])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest on the logarithmic axis, before its lowest point."""
        slopes = [after - before for before, after in zip(self.smoothed, self.smoothed[1:], strict=False)]
        before = slopes[: max(self.lowest, 1)]
        return self.rates[min(range(len(before)), key=lambda step: before[step])]

    @property
    def suggestion(self) -> float:
        """The geometric mean of the steepest rate and a tenth of the one with the lowest loss, two digits."""
        return float(f"{math.sqrt(self.steepest * self.rates[self.lowest] / 10):.1e}")


def measure(config: "RunConfig", steps: int, low: float, high: float) -> Range:
    """Trains for so many steps while the rate climbs from `low` to `high`; stops where the loss flies apart.

    Raises RunError if that happens at once.
    """
    from trainer.data.loader import load
    from trainer.techniques.hooks import join
    from trainer.training.build import build_trainer, pick_device
    from trainer.training.lr_schedule import Schedule

    device = pick_device(config.device)
    images = load(config.dataset, expanded(config.data_dir), device)
    training, _ = config.dataset.shared_function()(images, config.split_seed)
    test = _Test(steps)
    trainer = build_trainer(config, training, None, device, test.until_over)
    trainer.schedule = Schedule(trainer.optimizer, lambda done: low ** (1 - done) * high**done, max(steps - 1, 1))
    trainer.hooks = join([trainer.hooks, test.watch(trainer.schedule)])
    while not test.over:
        try:
            trainer.do_train()
        except RunError as error:  # a loss that is not finite: the test has noted it
            if not (test.over or isinstance(error, NonFiniteError)):
                raise
            break
        trainer.epoch += 1
    if len(test.seen) < 3:
        raise RunError(f"the loss is not finite at lr={low:g} already: the initial weights or the data are at fault")
    found = test.result()
    if found.smoothed[found.lowest] > 0.98 * found.smoothed[0]:
        raise RunError(
            f"the loss falls at no rate from {low:g} to {high:g}: the initial weights or the data are at fault"
        )
    return found


class _Test:
    """Stands in the hooks of the trainer's own loop: notes rate and loss of each step, and when it is over."""

    def __init__(self, steps: int) -> None:
        self.steps, self.over = steps, False
        self.seen: list[tuple[float, float, float]] = []  # rate, loss, smoothed
        self.mean, self.lowest = 0.0, math.inf

    def watch(self, schedule: "Schedule") -> StepHooks:
        from trainer.techniques.hooks import StepHooks

        return StepHooks(penalty=lambda logits, labels: self.note(schedule.lr, logits, labels))

    def note(self, rate: float, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Adds nothing to the loss."""
        from torch.nn import functional as F

        loss = F.cross_entropy(logits.detach(), labels).item()
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        smoothed = self.mean / (1 - SMOOTHING ** (len(self.seen) + 1))
        self.lowest = min(self.lowest, smoothed)
        if math.isfinite(smoothed):
            self.seen.append((rate, loss, smoothed))
        self.over = len(self.seen) >= self.steps or not smoothed <= DIVERGED * self.lowest
        return logits.new_zeros(())

    def until_over(self, batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterator[Any]:
        for batch in batches:
            yield batch
            if self.over:
                return

    def result(self) -> Range:
        rates, losses, smoothed = zip(*self.seen, strict=True)
        return Range(rates, losses, smoothed)
