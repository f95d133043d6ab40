"""Sets the optimizer's learning rate before every step: a warm-up, then the chosen rule."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from trainer.config.types import CountOrZero, NonNegative
from trainer.errors import ConfigError
from trainer.techniques.scheduler import LRFunction, StatefulLR


class Schedule:
    """The rate in step t (from 0): in W warm-up steps (t + 1)/W of what the rule begins with, then the rule."""

    def __init__(self, optimizer: Optimizer, rule: LRFunction, steps_per_epoch: int, warmup_steps: int = 0) -> None:
        self.optimizer, self.rule = optimizer, rule
        self.steps_per_epoch, self.warmup_steps = steps_per_epoch, warmup_steps
        self.steps, self.scale = 0, 1.0
        self._apply()

    def step(self) -> None:
        """Call after each optimizer step."""
        self.steps += 1
        self._apply()

    def halve(self) -> None:
        """Half of what it would be, from here on."""
        self.scale /= 2
        self._apply()

    def observe(self, validation_loss: float) -> None:
        """Call after each validation: a plateau follows its loss, once the warm-up is over."""
        if isinstance(self.rule, StatefulLR) and self.steps >= self.warmup_steps:
            self.rule.observe(validation_loss)
            self._apply()

    @property
    def lr(self) -> float:
        """The rate that the next step uses."""
        if self.steps < self.warmup_steps:
            return self.scale * self.rule(0.0) * (self.steps + 1) / self.warmup_steps
        return self.scale * self.rule((self.steps - self.warmup_steps) / self.steps_per_epoch)

    def _apply(self) -> None:
        lr = self.lr
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        memory = self.rule.state_dict() if isinstance(self.rule, StatefulLR) else {}
        return {"steps": self.steps, "scale": self.scale, "rule": memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.scale = state["steps"], state["scale"]
        if isinstance(self.rule, StatefulLR):
            self.rule.load_state_dict(state["rule"])
        self._apply()


def warm_up(
    build: Callable[[float, float], LRFunction],
    optimizer: Optimizer,
    lr: float,
    epochs: int,
    steps_per_epoch: int,
    *,
    warmup_epochs: NonNegative = 0.0,
    warmup_steps: CountOrZero = 0,
) -> Schedule:
    """The chosen rule behind a linear warm-up of so many epochs or steps; the rule gets the epochs that remain.

    Raises ConfigError if both are given, if nothing remains, or if the rule starts at zero.
    """
    if warmup_epochs and warmup_steps:
        raise ConfigError("scheduler.warmup_epochs and scheduler.warmup_steps: give one of them")
    steps = warmup_steps or round(warmup_epochs * steps_per_epoch)
    if steps >= epochs * steps_per_epoch:
        raise ConfigError(
            f"scheduler: a warm-up of {steps} steps leaves nothing of the run's {epochs * steps_per_epoch}"
        )
    rule = build(lr, epochs - steps / steps_per_epoch)
    if steps and rule(0.0) == 0:
        raise ConfigError("scheduler: this schedule starts at 0, so a warm-up has nothing to climb to; set its minimum")
    return Schedule(optimizer, rule, steps_per_epoch, steps)
