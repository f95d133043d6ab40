"""The checks of a learning-rate schedule and of a regularization."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from trainer.checking.subject import Subject, fail, moved, stirred, take_steps, weights_of
from trainer.techniques.scheduler import MomentumLR, ObservingLR, StatefulLR

EPOCHS, A_STEP = 30, 0.25  # of a longer run, asked for in quarters of an epoch
STEPS = 3
PLACES = ("augment", "penalty", "limit_gradients", "after_step", "after_epoch", "evaluated")  # of StepHooks
LOSSES = (2.0, 1.5, *[1.5] * 20)  # of validations: they fall, then stay


def has_rates(subject: Subject) -> str | None:
    """Ask for the rates of a whole run, twice each."""
    rule, rates = _rule(subject), list[float]()
    for number in range(int(EPOCHS / A_STEP) + 1):
        epoch = number * A_STEP
        rate, again = rule(epoch), rule(epoch)
        try:
            rates.append(float(rate))
        except (TypeError, ValueError):
            fail(f"at epoch {epoch:g} it returns {type(rate).__name__}, where a number is expected")
        if not math.isfinite(rates[-1]) or rates[-1] < 0:
            fail(f"the rate at epoch {epoch:g} of {EPOCHS} is {rates[-1]:g}: finite and at least 0 is expected")
        if float(again) != rates[-1]:
            fail(f"asked twice for epoch {epoch:g} it says {rates[-1]:g}, then {float(again):g}: a call alters nothing")
        if isinstance(rule, MomentumLR) and not 0 <= float(rule.momentum(epoch)) < 1:
            fail(f"the momentum at epoch {epoch:g} is {rule.momentum(epoch)}: at least 0 and below 1 is expected")
    if not any(rates):
        fail(f"the rate is 0 in all of {EPOCHS} epochs")
    return None


def restores_its_state(subject: Subject) -> str | None:
    """Show it validation losses, and give its state to a new one, which must have the same rates then."""
    rule, other = _rule(subject), _rule(subject)
    observe = [each.observe for each in (rule, other) if isinstance(each, ObservingLR)]
    if observe and not isinstance(rule, StatefulLR):
        fail("it observes losses and has no state_dict and load_state_dict: a resumed run has forgotten what it saw")
    if not isinstance(rule, StatefulLR):
        return None
    for loss in LOSSES if observe else ():
        observe[0](loss)
    other.load_state_dict(rule.state_dict())
    for number in range(int(EPOCHS / A_STEP) + 1):
        epoch = number * A_STEP
        if float(rule(epoch)) != float(other(epoch)):
            fail(f"with the state of another it says {float(other(epoch)):g}, and that one {float(rule(epoch)):g}")
        for each in observe if number < len(LOSSES) else ():
            each(LOSSES[number])
    return None


def _rule(subject: Subject) -> Any:
    return subject.choice.function()(subject.config.lr, float(EPOCHS))


def acts(subject: Subject) -> str | None:
    """Tell where a regularization acts, and look at what it adds to the loss in some steps."""
    with stirred(1):
        trainer = subject.trainer()
        hooks = trainer.hooks
        if hooks.penalty:
            trainer.hooks = replace(hooks, penalty=_looked_at(hooks.penalty))
        take_steps(trainer, STEPS)
        if wrong := [name for name, each in trainer.evaluated.named_parameters() if not each.isfinite().all()]:
            fail(f"after {STEPS} steps {wrong[0]} is not finite")
    places = [name for name in PLACES if getattr(hooks, name) is not None]
    if places:
        return f"acts by {', '.join(places)}"
    with stirred(1):
        without = subject.trainer(regularization=())
        take_steps(without, STEPS)
    if moved(weights_of(without), weights_of(trainer)) == 0:
        return (
            f"changes nothing in model={subject.config.model.name}: if it acts on the layers of another, add model=NAME"
        )
    return "acts within the layers"  # by hooks on them, or in their place


def _looked_at(penalty: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def look(logits: Tensor, labels: Tensor) -> Tensor:
        """Return the penalty, if it is one."""
        value = penalty(logits, labels)
        if not isinstance(value, Tensor) or value.ndim or not value.isfinite():
            shown = list(value.shape) if isinstance(value, Tensor) and value.ndim else value
            fail(f"its penalty is {shown}, where a finite scalar tensor is expected")
        return value

    return look


Checks = tuple[Callable[[Subject], str | None], ...]
SCHEDULER: Checks = (has_rates, restores_its_state)
REGULARIZATION: Checks = (acts,)
