"""The command line of a multirun (`-m`): its axes, its fixed settings, and the composition of a point into a run."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from trainer.config.arguments import as_forced_override
from trainer.config.check import check_sweep
from trainer.config.compose import Composer, Job, job_of, own_part, replacing_arms
from trainer.config.run_config import SweepConfig, TuneConfig
from trainer.config.schema import GROUPS
from trainer.config.settings import APART, comparable, kinds_of
from trainer.config.suggestions import unknown
from trainer.errors import ConfigError
from trainer.study.ablation import Ablation, Recipe, ablation_of
from trainer.study.axes import ARM, REPLICATES, Axis, Point, override_key, plain_override

MAX_VALUES = 10_000  # of one setting; each of them is composed and checked before the first run


@dataclass(frozen=True)
class Sweep:
    """A command line with `-m`. `compose` composes a point, each file as it was when it was first read."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]
    compose: Callable[[Sequence[str]], Job] = field(repr=False)
    loader: ConfigLoader = field(repr=False)
    config: DictConfig = field(repr=False)  # with Hydra's own part, which holds the launcher
    labels: dict[str, str] = field(default_factory=dict)  # the names of arms that have one, by their settings
    ablation: Ablation | None = None
    tuned: tuple[Axis, ...] = ()  # the settings that are tuned for each arm before the arms are compared

    def named_words(self, point: Point) -> Sequence[str]:
        """Return the overrides of the arm of an ablation, none without one."""
        return self.ablation.words[point[ARM]] if self.ablation else ()


def read_sweep(composer: Composer, arguments: Sequence[str]) -> Sweep:
    """Read Hydra's grid syntax (commas, range, choice, glob) and its distributions, and the axes of an experiment.

    `sweep.params` are axes, each a setting and its values; `sweep.arms` are the values of one axis that changes several
    settings at once, each a text such as "optimizer=sgd lr=0.1". The command line comes last: a setting in it replaces
    an axis, and the same setting in every arm. `tune.KEY=VALUES`, typed or in `sweep.params`, are the axes over which
    each arm is tuned. Raises ConfigError.
    """
    composer.loader.repository = _Frozen(composer.loader.repository)
    parser = OverridesParser.create(config_loader=composer.loader)
    tuning = [text for text in arguments if is_tuned(text)]
    arguments = [text for text in arguments if not is_tuned(text)]
    typed = {override_key(text) for text in arguments}
    tuned = tuple(_tuned_axis(parser, text, typed) for text in tuning)
    typed |= {axis.key for axis in tuned}
    parsed = parser.parse_overrides(list(arguments))
    # First without the axes: the composition says which axes an experiment adds.
    common = composer.compose([str(override.input_line) for override in parsed if not override.is_sweep_override()])
    job = job_of(own_part(common), arguments)
    settings = check_sweep(job.sweep, job.overrides, job.files)
    # What is typed, tuned or not, replaces an axis of the experiment, be that tuned or not.
    free = {key: value for key, value in settings.params.items() if key.removeprefix("tune.") not in typed}
    texts = [f"{key}={value}" for key, value in free.items()]
    tuned += tuple(_tuned_axis(parser, text, set()) for text in texts if is_tuned(text))
    typed |= {axis.key for axis in tuned}
    own = [as_forced_override(text, many=True) for text in texts if not is_tuned(text)]
    overrides = [*parser.parse_overrides(own), *parsed]
    axes = [_axis(override) for override in overrides if override.is_sweep_override()]
    labels = {}
    if settings.arms:
        axes.insert(0, Axis(ARM, texts=_without(settings.arm_texts, typed)))
        named = [(_left(arm, typed), name) for arm, name in settings.arm_names.items()]
        labels = {plain_override(text): name for text, name in reversed(named)}  # of equal ones the first
    for axis in axes:  # the experiment's axes, too
        _refuse_uncompared(axis.key)
    points = _Points(composer.loader, common, settings, typed)
    if settings.until is not None:
        axes.append(_seeds(settings, typed | {axis.key for axis in axes}))
    # Hydra's own settings, such as the launcher, stay in `common`, from which each point takes them.
    own_settings = [each for each in overrides if not (each.is_sweep_override() or each.is_hydra_override())]
    fixed = tuple(str(override.input_line) for override in own_settings)
    # What the axes of a file set was not typed, and its file is named in an error.
    if any(key.startswith("sweep.params") for key in typed):
        typed |= settings.params.keys()
    if any(key.startswith("sweep.arms") for key in typed):
        typed |= {override_key(word) for arm in settings.arm_texts for word in arm.split()}
    ablation = None
    if settings.ablate:
        ablation, fixed = _ablation(job, settings, common, points, axes, fixed)
        axes.insert(0, Axis(ARM, texts=tuple(ablation.arms)))
    return Sweep(tuple(axes), fixed, points.compose, composer.loader, common, labels, ablation, tuned)


def _ablation(
    job: Job, settings: SweepConfig, common: DictConfig, points: "_Points", axes: list[Axis], fixed: tuple[str, ...]
) -> tuple[Ablation, tuple[str, ...]]:
    """Return the arms of an ablation and the overrides that all of them have. Raises ConfigError."""
    assert settings.ablate
    if other := next((axis.key for axis in axes if not axis.replicates), None):
        raise ConfigError(
            f"ablate={settings.ablate} makes the arms of one recipe, and {other} has several values: give it one."
            f" Several values may have: {', '.join(REPLICATES)}"
        )
    if settings.baseline is not None or settings.method != "grid":
        given = f"sweep.baseline={settings.baseline}" if settings.baseline else f"sweep.method={settings.method}"
        raise ConfigError(f"ablate={settings.ablate} has arms and a baseline of its own: leave {given} out")
    dataset = common.hydra.runtime.choices.dataset
    plain = points.loader.load_sweep_config(common, [f"dataset={dataset}"])
    defaults = job_of(own_part(plain), ()).tree
    recipe = Recipe(job.tree, defaults, dict(common.hydra.runtime.choices), dict(plain.hydra.runtime.choices))
    ablation, kept = ablation_of(
        settings.ablate, settings.ablate_only, recipe, lambda words: points.compose(words).tree, list(fixed)
    )
    return ablation, tuple(kept)


def is_tuned(text: str) -> bool:
    """Return whether an override names values over which each arm is tuned: "tune.lr=…", but not "tune.trials=10"."""
    section, _, key = override_key(text).partition(".")
    return section == "tune" and bool(key) and key not in TuneConfig.model_fields


def _tuned_axis(parser: OverridesParser, text: str, typed: set[str]) -> Axis:
    """Return the axis over which each arm is tuned. Raises ConfigError if it cannot be tuned, or is typed as well."""
    override = text.lstrip("+").removeprefix("tune.")
    key = override_key(override)
    (parsed,) = parser.parse_overrides([as_forced_override(override, many=True)])
    if key in REPLICATES or not comparable(key):
        raise ConfigError(f"tune.{key} (command line): {key} cannot be tuned. A setting such as lr can")
    if key in typed:
        raise ConfigError(f"tune.{key} and {key} (command line): {key} is tuned for each arm or given, not both")
    if not parsed.is_sweep_override():
        if not kinds_of(key) and key not in GROUPS:
            raise ConfigError(
                unknown(f"tune.{key}", key, [*TuneConfig.model_fields], "command line", "tune has no such option")
            )
        raise ConfigError(
            f"tune.{override} (command line): one value leaves nothing to tune. Accepted: a list, as tune.lr=0.1,0.01,"
            " or a range, as 'tune.lr=tag(log,interval(1e-4,1e-1))'"
        )
    return _axis(parsed)


class _Points:
    """The composition of points. Hydra composes once for all points that choose the same files, which saves time."""

    def __init__(self, loader: ConfigLoader, common: DictConfig, settings: SweepConfig, typed: set[str]) -> None:
        self.loader, self.common, self.settings, self.typed = loader, common, settings, typed
        self.parser = OverridesParser.create(config_loader=loader)
        # {choices of group files: (the composed tree without single settings, the state of HydraConfig)}
        self.composed: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def compose(self, overrides: Sequence[str]) -> Job:
        """Return the job at a point. Raises ConfigError if an experiment on an axis has axes of its own."""
        # "++key=value" changes one setting and no choice of files (see `as_forced_override`).
        choices = tuple(text for text in overrides if not text.startswith("++"))
        state = HydraConfig.instance()
        if choices not in self.composed:
            composed = self.loader.load_sweep_config(self.common, list(choices))
            state.set_config(composed)
            self.composed[choices] = own_part(composed), state.cfg
        # `job_of` reads the chosen files from Hydra's global state, so it must fit this point.
        own, state.cfg = self.composed[choices]
        tree = copy.deepcopy(own)  # the settings are written into it
        settings = self.parser.parse_overrides(replacing_arms([text for text in overrides if text.startswith("++")]))
        ConfigLoaderImpl._apply_overrides_to_config(settings, tree)
        job = job_of(tree, overrides)
        sweep = check_sweep(job.sweep, job.overrides, job.files)
        if (sweep.params, sweep.arms) != (self.settings.params, self.settings.arms):
            raise ConfigError("each experiment has axes of its own: start one after the other, not as an axis")
        return replace(job, overrides={key: text for key, text in job.overrides.items() if key in self.typed})


class _Frozen(CachingConfigRepository):
    """The configuration files, each read once, so that an edit while a study is composed has no effect."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return a copy of the cached file: Hydra changes the object that it gets."""
        return copy.deepcopy(super().load_config(config_path))

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Frozen":
        return self  # Hydra copies the repository for every composition; a copy would read the files again


def _refuse_uncompared(key: str) -> None:
    """Raise ConfigError if the setting is no axis: it does not belong to a run, or has no effect on its result."""
    if comparable(key):
        return
    apart = key.replace("/", ".").partition(".")[0] in APART
    reason = "cannot have several values: it does not change the result of a run"
    raise ConfigError(f"{key} (command line): {'is not a setting to compare' if apart else reason}")


def _seeds(settings: SweepConfig, keys: set[str]) -> Axis:
    """Return the axis of all seeds that a study may come to train. Raises ConfigError if seeds were given as well."""
    if "seed" in keys:
        raise ConfigError(
            f"seed together with sweep.until={settings.until}: leave seed out, as the seeds are 0, 1, 2, … up to"
            f" sweep.max_seeds={settings.max_seeds} of them"
        )
    return Axis("seed", texts=tuple(f"++seed={seed}" for seed in range(settings.max_seeds)))


def _without(arms: Sequence[str], typed: set[str]) -> tuple[str, ...]:
    """Return the arms without the settings of the command line. Raises ConfigError if only one arm is left."""
    texts = tuple(dict.fromkeys(_left(arm, typed) for arm in arms))
    if len(texts) == 1:
        keys = ", ".join(sorted(typed & {word.partition("=")[0] for arm in arms for word in arm.split()}))
        raise ConfigError(f"{keys} (command line): makes the arms of the experiment equal: there is nothing to compare")
    return texts


def _left(arm: str, typed: set[str]) -> str:
    """Return the overrides of an arm without the settings of the command line."""
    return " ".join(as_forced_override(word) for word in arm.split() if override_key(word) not in typed)


def _count(spanned: RangeSweep) -> float:
    """Return the number of values of a range without listing them; NaN for a step of 0."""
    return (float(spanned.stop or 0) - float(spanned.start or 0)) / (float(spanned.step) or math.nan)


def _axis(override: Override) -> Axis:
    """Return the axis of a list, a range or an interval. Raises ConfigError if it is empty, too long or not rising."""
    key, prefix, typed = override.key_or_group, override.get_key_element(), str(override.input_line).lstrip("+")
    if not override.is_interval_sweep():
        spanned: Any = override.value()
        if isinstance(spanned, RangeSweep) and (count := _count(spanned)) > MAX_VALUES:
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
    # Hydra makes both ends floats, unless the interval is cast by int(...).
    log, integer = "log" in interval.tags, isinstance(low, int) and isinstance(high, int)
    if log and low <= 0:
        raise ConfigError(f"{typed} (command line): a log interval starts above 0")
    return Axis(key, prefix=prefix, low=float(low), high=float(high), log=log, integer=integer)
