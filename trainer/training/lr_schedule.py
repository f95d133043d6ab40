"""The learning rate before every step: a linear warm-up, then the rule of the chosen scheduler."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from trainer.config.types import CountOrZero, NonNegative
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.techniques.scheduler import LRFunction, StatefulLR
from trainer.training.optimizer_state import lr_scale


class Schedule:
    """The optimizer's learning rate by step; a parameter group has it times its `lr_scale`.

    In step t (from 0) of W warm-up steps it is (t + 1)/W of the rule's first rate; afterwards it is the rule's rate,
    whose time, in epochs, starts at 0 after the warm-up.
    """

    def __init__(self, optimizer: Optimizer, rule: LRFunction, steps_per_epoch: int, warmup_steps: int = 0) -> None:
        self.optimizer, self.rule = optimizer, rule
        self.steps_per_epoch, self.warmup_steps = steps_per_epoch, warmup_steps
        self.steps, self.scale = 0, 1.0
        self.applied: float | None = None  # the rate that the optimizer has
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
        if isinstance(self.rule, StatefulLR) and self.steps >= self.warmup_steps:
            self.rule.observe(validation_loss)
            self._apply()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        if self.steps < self.warmup_steps:
            return self.scale * self.rule(0.0) * (self.steps + 1) / self.warmup_steps
        return self.scale * self.rule((self.steps - self.warmup_steps) / self.steps_per_epoch)

    def _apply(self) -> None:
        lr = self.lr
        if lr == self.applied:  # on a GPU each assignment is a kernel
            return
        for group in self.optimizer.param_groups:  # decayed and undecayed parameters
            if isinstance(group["lr"], Tensor):  # see `adapt_to_device`
                group["lr"].fill_(lr * lr_scale(group))
            else:
                group["lr"] = lr * lr_scale(group)
        self.applied = lr

    def state_dict(self) -> dict[str, Any]:
        """Return the steps done, the factor of `halve`, and the state of a rule that depends on the losses."""
        rule_state = self.rule.state_dict() if isinstance(self.rule, StatefulLR) else {}
        return {"steps": self.steps, "scale": self.scale, "rule": rule_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state and set the optimizer's rate."""
        self.steps, self.scale, self.applied = state["steps"], state["scale"], None
        if isinstance(self.rule, StatefulLR):
            self.rule.load_state_dict(state["rule"])
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
