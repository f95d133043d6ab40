"""The argument `techniques`: own techniques from paths, and functions of the program that calls. Imports no torch."""

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from trainer.config.own import OwnTechniques, read
from trainer.config.own_live import Functions, given
from trainer.config.own_record import choices
from trainer.config.run_config import RunConfig
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Functions]"
Techniques: TypeAlias = "Source | Sequence[Source] | None"


def own_techniques(value: Techniques) -> tuple[OwnTechniques, ...]:
    """Return the techniques of paths, as `--techniques` takes them, and of {group: function or functions}.

    Raises ConfigError with one line if there are none, or if they cannot be used.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return (given(value, [*GROUPS]),)
    if isinstance(value, str | os.PathLike):
        return (read(os.fspath(value), [*GROUPS]),)
    if not isinstance(value, Sequence):
        form = 'a path such as "mine", {"optimizer": tiger}, or a list of these'
        raise ConfigError(f"techniques={value!r}: must be {form}")
    return tuple(own for each in value for own in own_techniques(each))


def techniques_of(config: RunConfig) -> tuple[OwnTechniques, ...]:
    """Return the own techniques that a run uses."""
    return tuple({choice.own.package: choice.own for choice in choices(config) if choice.own}.values())
