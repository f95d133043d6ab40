"""Overrides to try that suit the run they are given for, and are not what it has already. Imports no torch."""

from collections.abc import Sequence

from trainer.config.run_config import RunConfig


def beside(config: RunConfig, group: str, names: Sequence[str]) -> str:
    """The listed group with one technique more, the first that it does not have: augmentation=[flip,crop]."""
    chosen = [choice.name for choice in getattr(config, group)]
    return f"{group}=[{','.join([*chosen, *[name for name in names if name not in chosen][:1]])}]"


def without(config: RunConfig, group: str, name: str) -> str:
    left = [choice.name for choice in getattr(config, group) if choice.name != name]
    return f"{group}=[{','.join(left)}]" if left else f"{group}=none"


def first_new(config: RunConfig, *candidates: tuple[str, str]) -> str:
    """The first of these (group, option) that the run does not have, at last a smaller learning rate."""
    new = [f"{group}={name}" for group, name in candidates if getattr(config, group).name != name]
    return new[0] if new else f"lr={config.lr / 10:.3g}"


def smoother_start(config: RunConfig) -> str:
    """The initialization that keeps the size of what passes through, for the run's activation."""
    symmetric = config.activation.name in ("sigmoid", "tanh", "maxout")
    start = ("init", "xavier_normal" if symmetric else "kaiming_normal")
    return first_new(config, start, ("normalization", "batch"), ("activation", "relu"))


def wider(config: RunConfig) -> str:
    """Twice the units where the model has most of its weights."""
    options = config.model.options
    if "hidden" in options:
        hidden = options["hidden"]
        doubled = f"[{','.join(str(2 * each) for each in hidden)}]" if isinstance(hidden, tuple) else 2 * hidden
        return f"model.hidden={doubled}"
    return f"model.width={2 * options['width']}"
