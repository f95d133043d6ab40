"""Overrides to try that suit the run they are given for. Imports no torch."""

from trainer.config import RunConfig


def beside(config: RunConfig, group: str, name: str) -> str:
    """The listed group with one technique more: augmentation=[flip,crop]."""
    chosen = [choice.name for choice in getattr(config, group) if choice.name != name]
    return f"{group}=[{','.join([*chosen, name])}]"


def without(config: RunConfig, group: str, name: str) -> str:
    left = [choice.name for choice in getattr(config, group) if choice.name != name]
    return f"{group}=[{','.join(left)}]" if left else f"{group}=none"


def smoother_start(config: RunConfig) -> str:
    """The initialization that keeps the size of what passes through, for the run's activation."""
    symmetric = config.activation.name in ("sigmoid", "tanh", "maxout")
    return "init=xavier_normal" if symmetric else "init=kaiming_normal"


def wider(config: RunConfig) -> str:
    """Twice the units where the model has most of its weights."""
    options = config.model.options
    if "hidden" in options:
        hidden = options["hidden"]
        doubled = f"[{','.join(str(2 * each) for each in hidden)}]" if isinstance(hidden, tuple) else 2 * hidden
        return f"model.hidden={doubled}"
    return f"model.width={2 * options['width']}"
