"""The check that the arms of a study can be tuned before they are compared, and the number of runs that takes."""

import contextlib
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence

from trainer.config.run_config import SweepConfig
from trainer.errors import ConfigError
from trainer.study.axes import Axis, space_size

MAX_TUNING = 100_000  # runs of a study


def with_tuning(settings: SweepConfig, tuned: Sequence[Axis], typed: Mapping[str, str]) -> SweepConfig:
    """Return the settings, without those of the tuning where nothing is tuned. Raises ConfigError for a contradiction.

    `typed`: {setting of the command line: its text}.
    """
    if not tuned:
        for key in (key for key in typed if key.startswith("tune.")):
            raise ConfigError(
                f"{key}={typed[key]} (command line): nothing is tuned. Name what is, as"
                " 'tune.lr=tag(log,interval(1e-4,1e-1))'"
            )
        return settings.model_copy(update={"tune": None})
    first = f"tune.{tuned[0].key}"
    if settings.method != "grid":
        raise ConfigError(
            f"sweep.method={settings.method} and {first} (command line): a search has no arms to tune. List what is"
            f" compared, as optimizer=sgd,adam, and search for each of them with tune.method={settings.method}"
        )
    if settings.until is not None:
        raise ConfigError(f"sweep.until={settings.until} and {first} (command line): give one of them")
    assert settings.tune is not None
    for axis in tuned:
        if settings.tune.method == "grid" and not axis.texts:
            raise ConfigError(
                f"tune.{axis.described()} (command line): tune.method=grid needs a list, such as"
                f" tune.{axis.key}=0.001,0.01,0.1"
            )
    return settings


def trials_of(settings: SweepConfig, tuned: Sequence[Axis]) -> int:
    """Return the number of points that each arm is tried at: `tune.trials`, unless there are fewer, or all of a grid.

    Raises ConfigError if they are too many.
    """
    if settings.tune is None:
        return 0
    size = space_size(tuned)
    trials = size if settings.tune.method == "grid" else min(settings.tune.trials, size)
    if trials > MAX_TUNING:
        raise ConfigError(f"tune.method=grid tries {trials:g} points: at most {MAX_TUNING}. Try tune.method=random")
    return int(trials)


def unique_values(axes: Sequence[Axis]) -> int:
    """Return the number of combinations of listed values, equal ones counted once."""
    return math.prod(int(axis.size) for axis in axes)


@contextlib.contextmanager
def integer_hint(axes: Sequence[Axis], before: str = "") -> Iterator[None]:
    """Add the syntax for whole numbers to an error if an integer setting was given an interval of real numbers."""
    try:
        yield
    except ConfigError as error:
        for axis in axes:
            fractions = not axis.texts and not axis.integer
            if fractions and str(error).startswith(f"{axis.key}=") and "whole number" in str(error):
                interval = shlex.quote(f"{before}{axis.key}=int(interval({axis.low:g},{axis.high:g}))")
                fault = str(error).partition(". Did you mean")[0]  # an end of the range: not what to type
                raise ConfigError(f"{fault}; whole numbers: {interval}") from None
        raise
