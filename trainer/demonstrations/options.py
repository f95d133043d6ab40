"""The options of demonstrations: which of them stand without a flag, and the check of their values."""

import math
from dataclasses import dataclass
from typing import Annotated

from trainer.errors import ConfigError


@dataclass(frozen=True)
class Positional:
    """The mark of an option that is typed without its name, with what stands for it in the help."""

    metavar: str


Settings = Annotated[tuple[str, ...], Positional("NAME=VALUE")]  # of a run
Run = Annotated[str | None, Positional("RUN")]


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
