"""The checks of an optimizer: it follows the schedule's rate, decays what is to be decayed, and keeps groups apart."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.checking.subject import Subject, fail, moved, stirred, take_steps, weights_of
from trainer.techniques.layers import weights
from trainer.training.lr_schedule import Schedule
from trainer.training.optimizer_state import needs_closure, set_mode

STEPS = 3
DECAY = 1.0  # far more than anyone uses: at a rate of 0.001 three steps shrink the weights by 0.3 %
SMALL = 1e-3  # the share of the rate that a group has whose rate is to be seen
ROUNDING = 1e-6


def obeys_rate(subject: Subject) -> str | None:
    """Take steps at the rate, at half of it and at zero, as the schedule sets them."""
    rate = subject.config.lr
    full, half, none = (_moved_at(subject, factor * rate) for factor in (1.0, 0.5, 0.0))
    if full[0] == 0:
        fail(f"{STEPS} steps at lr={rate:g} change no weight")
    if none[0] > ROUNDING:
        fail(
            f"{STEPS} steps at a rate of 0 change the weights by {none[0]:.1%}: a step must read group['lr'], which the"
            " schedule sets before each"
        )
    if moved(full[1], half[1]) == 0:
        fail("half the rate leads to the same weights: a step must read group['lr'], which the schedule sets")
    return None


def _moved_at(subject: Subject, rate: float) -> tuple[float, dict[str, Tensor]]:
    """Return how far the weights move while the schedule gives this rate, and their values then."""
    with stirred(1):
        trainer = subject.trainer(weight_decay=0.0)
        trainer.schedule = Schedule(trainer.optimizer, lambda _: rate, len(trainer.train))
        before = weights_of(trainer)
        try:
            take_steps(trainer, STEPS)
        except ArithmeticError as error:
            if rate:
                raise
            fail(f"{type(error).__name__}: {error} at a rate of 0, which cosine and triangular have at an end")
        after = weights_of(trainer)
    return moved(before, after), after


def obeys_weight_decay(subject: Subject) -> str | None:
    """Take steps with and without weight decay: with it, the weights are smaller; or the option is ignored."""
    sizes = []
    for decay in (0.0, DECAY):
        with stirred(1):
            trainer = subject.trainer(weight_decay=decay, weight_decay_scope="weights")
            take_steps(trainer, STEPS)
            sizes.append(sum(float(each.detach().double().square().sum()) for each in weights(trainer.model)))
    if sizes[0] == sizes[1]:
        return "ignores weight_decay"
    if sizes[1] > sizes[0]:
        fail(
            f"weight_decay={DECAY:g} makes the weights larger: their sum of squares is {sizes[1]:.6g} after {STEPS}"
            f" steps, {sizes[0]:.6g} without; it must shrink them"
        )
    return None


def spares_undecayed(subject: Subject) -> str | None:
    """Take a step with and without weight decay: biases, whose group has none, must be the same after it."""
    ends = []
    for decay in (0.0, DECAY):
        with stirred(1):
            trainer = subject.trainer(weight_decay=decay, weight_decay_scope="weights")
            decayed = set(map(id, weights(trainer.model)))
            named = {name: each for name, each in trainer.model.named_parameters() if id(each) not in decayed}
            _take_step(trainer.optimizer, 1.0)
            ends.append({name: each.detach().clone() for name, each in named.items()})
    if moved(*ends) > ROUNDING:
        fail(
            "parameters of a group with weight_decay=0 (biases) are decayed: a step must read group['weight_decay'] of"
            " each group, and the function must not give its weight_decay to all of them"
        )
    return None


def keeps_rates_apart(subject: Subject) -> str | None:
    """Give each parameter group in turn a thousandth of the rate, by `lr_scale`, and see how far its weights move."""
    with stirred(1):
        count = len(subject.trainer().optimizer.param_groups)
    if count == 1:
        return "has one parameter group"
    for number in range(count):
        slow, usual = (_moved_of_group(subject, number, scale) for scale in (SMALL, 1.0))
        if slow > usual / 10:
            fail(
                f"parameter group {number + 1} of {count} moves by {slow:.2g} of its size with lr_scale={SMALL:g}, and"
                f" by {usual:.2g} with lr_scale=1: a step must read group['lr'] of each group"
            )
    return None


def _moved_of_group(subject: Subject, number: int, scale: float) -> float:
    with stirred(1):
        trainer = subject.trainer(weight_decay=0.0)
        for group in trainer.optimizer.param_groups:
            group["lr_scale"] = 1.0
        group = trainer.optimizer.param_groups[number]
        group["lr_scale"] = scale
        trainer.schedule = Schedule(trainer.optimizer, lambda _: subject.config.lr, len(trainer.train))
        before = {str(place): each.detach().clone() for place, each in enumerate(group["params"])}
        for _ in range(STEPS):
            _take_step(trainer.optimizer, 1.0)
        return moved(before, {str(place): each.detach() for place, each in enumerate(group["params"])})


def _take_step(optimizer: Optimizer, size: float) -> None:
    """Take a step with random gradients of this standard deviation, the same in every call with the same parameters."""
    draw = torch.Generator().manual_seed(0)
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    gradients = [size * torch.randn(each.shape, generator=draw).to(each.device) for each in parameters]

    def closure() -> Any:
        """Set the gradients and return a loss."""
        for each, gradient in zip(parameters, gradients, strict=True):
            each.grad = gradient.clone()
        return torch.stack([gradient.square().sum() for gradient in gradients]).sum()

    set_mode(optimizer, training=True)
    if needs_closure(optimizer):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


CHECKS: tuple[Callable[[Subject], str | None], ...] = (
    obeys_rate,
    obeys_weight_decay,
    spares_undecayed,
    keeps_rates_apart,
)
