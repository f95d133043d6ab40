"""The options of demonstrations: which of them stand without a flag, and the check of their values."""

import math

from trainer.errors import ConfigError

# Options that are typed without a flag → what stands for them in the help: a run's folder, and the settings of a run.
POSITIONAL = {"run": "RUN", "settings": "NAME=VALUE"}


def positive(**values: float) -> None:
    """Raise ConfigError unless each is a number above 0."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{name}={value:g}: must be a number above 0")


def at_least(least: int, **values: int | None) -> None:
    """Raise ConfigError unless each is at least that; None is a choice left to the demonstration."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: must be a whole number of at least {least}")
