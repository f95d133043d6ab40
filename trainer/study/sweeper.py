"""The command line of a study: its axes, its fixed settings, and the composition of a run at a point on the axes."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from trainer.config.check import check_sweep
from trainer.config.compose import Composer, Job, as_forced_override, job_of, own_part
from trainer.config.run_config import SweepConfig, Tag, tagged
from trainer.errors import ConfigError
from trainer.study.axes import ARM, Axis

MAX_VALUES = 10_000  # of one setting


@dataclass(frozen=True)
class Sweep:
    """A parsed command line with `-m`; `compose` reads no file that was not read when this was made."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]
    compose: Callable[[Sequence[str]], Job] = field(repr=False)
    loader: ConfigLoader = field(repr=False)
    config: DictConfig = field(repr=False)  # with Hydra's own part: its launcher


def read_sweep(composer: Composer, arguments: Sequence[str]) -> Sweep:
    """Read Hydra's grid syntax (commas, range, choice, glob) and its distributions, and the axes of an experiment.

    `sweep.params` are axes, each a setting and its values; `sweep.arms` are the values of one axis that changes several
    settings at once, each a text such as "optimizer=sgd lr=0.1". What is typed on the command line comes last: it
    replaces an axis, and a setting in every arm.
    """
    typed = _typed_once(arguments)
    # From here on every file is read once: all runs of a study are of one state of conf/.
    composer.loader.repository = _Frozen(composer.loader.repository)
    parser = OverridesParser.create(config_loader=composer.loader)
    overrides = parser.parse_overrides(list(arguments))
    common = composer.compose([str(override.input_line) for override in overrides if not override.is_sweep_override()])
    job = job_of(own_part(common), arguments)
    settings = check_sweep(job.sweep, job.overrides, job.files)
    params = [as_forced_override(f"{key}={value}") for key, value in settings.params.items() if key not in typed]
    overrides = [*parser.parse_overrides(params), *overrides]
    axes = [_axis(override) for override in overrides if override.is_sweep_override()]
    if settings.arms:  # the slowest axis: the runs of one arm follow each other
        axes.insert(0, Axis(ARM, texts=_without(settings.arms, typed)))
    for axis in axes:
        _refuse_uncompared(axis.key)
    # Hydra's own settings, such as the launcher, stay in `common`, from which each point takes them.
    fixed = tuple(
        str(override.input_line)
        for override in overrides
        if not (override.is_sweep_override() or override.is_hydra_override())
    )
    points = _Points(composer.loader, common, settings)
    return Sweep(tuple(axes), fixed, points.compose, composer.loader, common)


class _Points:
    """The composition of points, faster than Hydra's: points of the same group choices share one composed tree."""

    def __init__(self, loader: ConfigLoader, common: DictConfig, settings: SweepConfig) -> None:
        self.loader, self.common, self.settings = loader, common, settings
        self.parser = OverridesParser.create(config_loader=loader)
        # {choices of groups: (the tree without further settings, Hydra's own part of it)}
        self.composed: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def compose(self, overrides: Sequence[str]) -> Job:
        """Return the job at a point. Raises ConfigError where an axis of experiments brings along axes of its own."""
        # Group choices ("optimizer=adam") change the composition; forced settings ("++lr=0.1") do not.
        choices = tuple(text for text in overrides if not text.startswith("++"))
        state = HydraConfig.instance()
        if choices not in self.composed:
            config = self.loader.load_sweep_config(self.common, list(choices))
            state.set_config(config)
            self.composed[choices] = own_part(config), state.cfg
        # job_of reads the choices from Hydra's global state, which must be that of this composition.
        own, state.cfg = self.composed[choices]
        tree = copy.deepcopy(own)  # overrides change it in place
        settings = self.parser.parse_overrides([text for text in overrides if text.startswith("++")])
        ConfigLoaderImpl._apply_overrides_to_config(settings, tree)
        job = job_of(tree, overrides)
        sweep = check_sweep(job.sweep, job.overrides, job.files)
        # The axes were read from the first composition: those of another experiment would be ignored.
        if (sweep.params, sweep.arms) != (self.settings.params, self.settings.arms):
            raise ConfigError("each experiment has runs of its own: start one after the other, not as an axis")
        return job


class _Frozen(CachingConfigRepository):
    """A repository that reads every file once: an edit while a study is running changes nothing."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(super().load_config(config_path))  # Hydra changes the tree that it gets

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Frozen":
        return self  # Hydra copies the repository for every composition


def _typed_once(arguments: Sequence[str]) -> set[str]:
    """Return the typed keys. Raises ConfigError for a repeated one: Hydra would use the last and drop an axis."""
    typed: dict[str, str] = {}
    for argument in (argument.lstrip("+") for argument in arguments):
        key = argument.partition("=")[0]
        if key in typed:
            raise ConfigError(f"{key} (command line): is given twice, {typed[key]} and {argument}. Give it once")
        typed[key] = argument
    return set(typed)


def _refuse_uncompared(key: str) -> None:
    """Raise ConfigError for a setting that is no axis: it does not change a result, or belongs to the study itself."""
    root = key.replace("/", ".").partition(".")[0]
    if root in ("sweep", "retrain", "hydra", "resume", "output_dir"):
        raise ConfigError(f"{key} (command line): is not a setting to compare")
    if root in tagged(Tag.NO_EFFECT) and root != "data_dir":  # other data may lie in another place
        raise ConfigError(
            f"{key} (command line): is not compared: it does not change a run's result. Give it one value"
        )


def _without(arms: Sequence[str], typed: set[str]) -> tuple[str, ...]:
    """Return the arms without the typed settings, which are the same in all. Raises ConfigError if one arm is left."""
    kept = [[word for word in arm.split() if word.lstrip("+").partition("=")[0] not in typed] for arm in arms]
    texts = tuple(dict.fromkeys(" ".join(map(as_forced_override, words)) for words in kept))
    if len(texts) == 1:
        what = ", ".join(sorted(typed & {word.partition("=")[0] for arm in arms for word in arm.split()}))
        raise ConfigError(f"{what} (command line): leaves the experiment one arm, with nothing to compare")
    return texts


def _count(sweep: RangeSweep) -> float:
    """Return the number of a range's values without making them."""
    return (float(sweep.stop or 0) - float(sweep.start or 0)) / (float(sweep.step) or math.nan)


def _axis(override: Override) -> Axis:
    """Return the axis that an override lists or spans. Raises ConfigError for an empty or falling one."""
    key, prefix, typed = override.key_or_group, override.get_key_element(), str(override.input_line).lstrip("+")
    if not override.is_interval_sweep():
        sweep: Any = override.value()
        if isinstance(sweep, RangeSweep) and (count := _count(sweep)) > MAX_VALUES:
            raise ConfigError(
                f"{typed} (command line): {count:.3g} values are too many, at most {MAX_VALUES} are listed"
            )
        texts = tuple(f"{prefix}={value}" for value in override.sweep_string_iterator())
        if not texts:
            raise ConfigError(f"{key} (command line): this list of values is empty")
        return Axis(key, texts=texts)
    interval: Any = override.value()
    low, high = interval.start, interval.end
    if not low < high:
        raise ConfigError(f"{typed} (command line): the interval must rise")
    log, integer = "log" in interval.tags, isinstance(low, int) and isinstance(high, int)
    if log and low <= 0:
        raise ConfigError(f"{typed} (command line): a log interval starts above 0")
    return Axis(key, prefix=prefix, low=float(low), high=float(high), log=log, integer=integer)
