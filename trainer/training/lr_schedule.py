"""The learning rate before every step: a linear warm-up, then the rule of the chosen scheduler."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from trainer.config.types import CountOrZero, NonNegative
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.techniques.scheduler import LRFunction, MomentumLR, ObservingLR, StatefulLR
from trainer.training.optimizer_state import lr_scale, momentum_key


class Schedule:
    """The optimizer's learning rate by step, and its momentum if the rule sets one.

    A parameter group has the rate times its own `lr_scale`.
    In step t (from 0) of W warm-up steps it is (t + 1)/W of the rule's first rate; afterwards it is the rule's rate,
    whose time, in epochs, starts at 0 after the warm-up.
    """

    def __init__(self, optimizer: Optimizer, rule: LRFunction, steps_per_epoch: int, warmup_steps: int = 0) -> None:
        self.optimizer, self.rule = optimizer, rule
        self.steps_per_epoch, self.warmup_steps = steps_per_epoch, warmup_steps
        self.steps, self.scale = 0, 1.0
        self.applied: tuple[float, float | None] | None = None  # the rate and momentum that the optimizer has
        self.cycle: Any = rule if isinstance(rule, MomentumLR) else None
        # Of each parameter group: which setting is its momentum, if the rule sets one.
        key = momentum_key if self.cycle is not None else lambda group: None
        self.momenta: list[str | None] = [key(group) for group in optimizer.param_groups]
        self._apply()

    def step(self) -> None:
        """Advance by one step. Call it after each optimizer step, and after a skipped one: time passes all the same."""
        self.steps += 1
        self._apply()

    def halve(self) -> None:
        """Halve the rate of all following steps."""
        self.scale /= 2
        self._apply()

    def observe(self, validation_loss: float) -> None:
        """Pass a validation loss to a rule that depends on it, once the warm-up is over."""
        if isinstance(self.rule, ObservingLR) and self.steps >= self.warmup_steps:
            self.rule.observe(validation_loss)
            self._apply()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        lr = float(self.scale * self.rule(self.time))
        return lr * (self.steps + 1) / self.warmup_steps if self.steps < self.warmup_steps else lr

    @property
    def momentum(self) -> float | None:
        """The momentum of the next step, None if the rule sets none."""
        return None if self.cycle is None else float(self.cycle.momentum(self.time))

    @property
    def time(self) -> float:
        """The time since the warm-up, in epochs."""
        return max(0, self.steps - self.warmup_steps) / self.steps_per_epoch

    def _apply(self) -> None:
        lr, momentum = self.lr, self.momentum
        if (lr, momentum) == self.applied:  # on a GPU each assignment is a kernel
            return
        for group, key in zip(self.optimizer.param_groups, self.momenta, strict=True):
            if isinstance(group["lr"], Tensor):  # see `adapt_to_device`
                group["lr"].fill_(lr * lr_scale(group))
            else:
                group["lr"] = lr * lr_scale(group)
            if key == "momentum":
                group[key] = momentum
            elif key:
                group[key] = (momentum, *group[key][1:])
        self.applied = lr, momentum

    def state_dict(self) -> dict[str, Any]:
        """Return the steps done, the factor of `halve`, and the state of a rule that has one."""
        rule_state = self.rule.state_dict() if isinstance(self.rule, StatefulLR) else {}
        return {"steps": self.steps, "scale": self.scale, "rule": rule_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state and set the optimizer's rate. Raises ValueError if that is not finite."""
        self.steps, self.scale, self.applied = state["steps"], state["scale"], None
        if isinstance(self.rule, StatefulLR):
            self.rule.load_state_dict(state["rule"])
        if not math.isfinite(self.lr):
            raise ValueError(f"schedule.rule leads to a rate of {self.lr}")
        self._apply()


def warm_up(
    build: Callable[[float, float], LRFunction],
    lr: float,
    epochs: int,
    steps_per_epoch: int,
    *,
    warmup_epochs: NonNegative = 0.0,
    warmup_steps: CountOrZero = 0,
) -> tuple[LRFunction, int]:
    """Return the rule for the epochs that remain after a linear warm-up, and the steps of the warm-up.

    `build(lr, epochs)` makes the rule. Raises ConfigError if the warm-up is given both in epochs and in steps, if no
    epochs remain, or if the rule starts at zero.
    """
    if warmup_epochs and warmup_steps:
        raise ConfigError("scheduler.warmup_epochs and scheduler.warmup_steps: give one of them")
    steps = warmup_steps or round(warmup_epochs * steps_per_epoch)
    if steps >= epochs * steps_per_epoch:
        raise ConfigError(
            f"scheduler: a warm-up of {counted(steps, 'step')} leaves nothing of the run's {epochs * steps_per_epoch}"
        )
    rule = build(lr, epochs - steps / steps_per_epoch)
    if steps and rule(0.0) == 0:
        raise ConfigError(
            "scheduler: this schedule starts at 0, so a warm-up has no rate to rise to; set scheduler.min_lr"
        )
    return rule, steps
