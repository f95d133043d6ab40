"""Overrides to try against a fault, none of which the run has already. Imports no torch."""

import math

from trainer.config.check import check
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError
from trainer.techniques.remedies import REMEDIES, SYMMETRIC_ACTIVATIONS, USUAL_LR, WIDTHS


def against(config: RunConfig, cause: str) -> str:
    """Return the first technique against a cause that the run does not use, or a smaller learning rate.

    A listed group keeps what it has: augmentation=[flip,crop].
    """
    for group, option, instead_of in REMEDIES[cause]:
        chosen = chosen_names(config, group)
        if option not in chosen and instead_of in (None, *chosen) and _goes_with(config, group, option):
            return f"{group}=[{','.join([*chosen, option])}]" if GROUPS[group].listed else f"{group}={option}"
    return smaller_rate(config)


def _goes_with(config: RunConfig, group: str, option: str) -> bool:
    """Return whether the run would be accepted with this technique."""
    tree = config.tree()
    tree[group] = {**tree[group], option: {}} if GROUPS[group].listed else {"name": option}
    try:
        check(tree)
    except ConfigError:
        return False
    return True


def smaller_rate(config: RunConfig) -> str:
    """Return a tenth of the learning rate, or the rate that is usual for the optimizer if that is still smaller."""
    return f"lr={min(config.lr / 10, USUAL_LR.get(config.optimizer.name, math.inf)):.3g}"


def larger_rate(config: RunConfig) -> str:
    """Return ten times the learning rate, or the rate that is usual for the optimizer if that is still larger."""
    return f"lr={max(config.lr * 10, USUAL_LR.get(config.optimizer.name, 0.0)):.3g}"


def chosen_names(config: RunConfig, group: str) -> list[str]:
    """Return the options that the run has chosen of a group, in their order."""
    choices = getattr(config, group)
    return [choice.name for choice in (choices if GROUPS[group].listed else (choices,))]


def without(config: RunConfig, group: str, name: str) -> str:
    """Return the listed group without one of its techniques."""
    left = [chosen for chosen in chosen_names(config, group) if chosen != name]
    return f"{group}=[{','.join(left)}]" if left else f"{group}=none"


def smoother_start(config: RunConfig) -> str:
    """Return the initialization that keeps the variance of what passes through, for the run's activation."""
    symmetric = config.activation.name in SYMMETRIC_ACTIVATIONS
    return against(config, "badly scaled symmetric start" if symmetric else "badly scaled start")


def wider(config: RunConfig) -> str:
    """Return twice the units, where the model has most of its weights, or a larger model for one that is not known."""
    options = [option for option in WIDTHS.get(config.model.name, ()) if config.model.options[option] != ()]
    if not options:
        return "model=resnet18"
    units = config.model.options[option := options[-1]]
    doubled = f"[{','.join(str(2 * each) for each in units)}]" if isinstance(units, tuple) else 2 * units
    return f"model.{option}={doubled}"
