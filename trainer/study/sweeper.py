"""Reads what `-m` asks for: axes, fixed settings, and a composer that turns a point on the axes into a run."""

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
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from trainer.config.compose import Job, as_forced_override, job_of
from trainer.config.run_config import Tag, tagged
from trainer.errors import ConfigError
from trainer.study.axes import ARM, Axis

MOST_VALUES = 10_000  # of one setting


@dataclass(frozen=True)
class Sweep:
    """What a command line with `-m` stands for; `compose` reads no file that it has not read when this was made."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]
    compose: Callable[[Sequence[str]], Job] = field(repr=False)
    context: HydraContext = field(repr=False)
    config: DictConfig = field(repr=False)  # Hydra's own: its launcher


class StudySweeper:
    """Hydra's grid syntax (commas, range, choice, glob) and its distributions, and what an experiment brings along.

    `params` are axes, each a setting and its values; `arms` are the values of one axis that changes several
    settings at once, each a text such as "optimizer=sgd lr=0.1". What is typed on the command line comes last: it
    replaces an axis, and a setting in every arm.
    """

    def __init__(self, params: dict[str, str] | None = None, arms: list[str] | None = None) -> None:
        self.params, self.arms = params or {}, arms or []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config, self.hand_over = hydra_context, config, task_function
        self.loader: ConfigLoader = hydra_context.config_loader
        self.loader.repository = _Frozen(self.loader.repository)  # type: ignore[attr-defined]
        self.parser = OverridesParser.create(config_loader=self.loader)
        # By the groups that were chosen: what the runs have in common, and Hydra's own part of it.
        self.composed: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def sweep(self, arguments: list[str]) -> None:
        """Hands the sweep over: its runs start when all that can be checked has been."""
        typed = _typed_once(arguments)
        own = [as_forced_override(f"{key}={value}") for key, value in self.params.items() if key not in typed]
        overrides = self.parser.parse_overrides([*own, *arguments])
        axes = [_axis(override) for override in overrides if override.is_sweep_override()]
        if self.arms:
            axes.insert(0, Axis(ARM, texts=_without(self.arms, typed)))
        for axis in axes:
            _refuse_what_is_not_compared(axis.key)
        fixed = tuple(str(override.input_line) for override in overrides if not override.is_sweep_override())
        self.hand_over(Sweep(tuple(axes), fixed, self._compose, self.context, self.config))

    def _compose(self, overrides: Sequence[str]) -> Job:
        """What Hydra composes, at a fraction of its time: runs of the same choices differ in settings alone."""
        choices = tuple(text for text in overrides if not text.startswith("++"))
        state = HydraConfig.instance()
        if choices not in self.composed:
            whole = self._choose(choices)
            state.set_config(whole)
            own = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
            self.composed[choices] = own, state.cfg
        common, state.cfg = self.composed[choices]
        tree = copy.deepcopy(common)
        settings = self.parser.parse_overrides([text for text in overrides if text.startswith("++")])
        ConfigLoaderImpl._apply_overrides_to_config(settings, tree)
        return job_of(tree, overrides)

    def _choose(self, choices: Sequence[str]) -> DictConfig:
        config = self.loader.load_sweep_config(self.config, list(choices))
        if (config.hydra.sweeper.params or {}) != self.params or (config.hydra.sweeper.arms or []) != self.arms:
            raise ConfigError("each experiment brings runs of its own: start one after the other, not as an axis")
        return config


class _Frozen(CachingConfigRepository):
    """Reads every file once: an edit while a study is running changes nothing."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(super().load_config(config_path))  # Hydra changes what it is given

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Frozen":
        return self  # Hydra copies the repository for every composition


def _typed_once(arguments: Sequence[str]) -> set[str]:
    """The keys. Of two values Hydra would take the last, and an axis would be gone. Raises ConfigError."""
    typed: dict[str, str] = {}
    for argument in (argument.lstrip("+") for argument in arguments):
        key = argument.partition("=")[0]
        if key in typed:
            raise ConfigError(f"{key} (command line): is given twice, {typed[key]} and {argument}. Give it once")
        typed[key] = argument
    return set(typed)


def _refuse_what_is_not_compared(key: str) -> None:
    root = key.partition(".")[0]
    if root in ("sweep", "retrain", "hydra", "resume", "output_dir"):
        raise ConfigError(f"{key} (command line): is not a setting to compare")
    if root in tagged(Tag.NO_EFFECT) and root != "data_dir":  # other data may lie in another place
        raise ConfigError(
            f"{key} (command line): is not compared: it does not change a run's result. Give it one value"
        )


def _without(arms: Sequence[str], typed: set[str]) -> tuple[str, ...]:
    """The arms without the settings that were typed: they are named by what they differ in. Raises ConfigError."""
    left = [[word for word in arm.split() if word.lstrip("+").partition("=")[0] not in typed] for arm in arms]
    texts = tuple(dict.fromkeys(" ".join(map(as_forced_override, words)) for words in left))
    if len(texts) == 1:
        what = ", ".join(sorted(typed & {word.partition("=")[0] for arm in arms for word in arm.split()}))
        raise ConfigError(f"{what} (command line): leaves the experiment one arm, with nothing to compare")
    return texts


def _count(spanned: RangeSweep) -> float:
    """Of its values, before any is made."""
    return (float(spanned.stop or 0) - float(spanned.start or 0)) / (float(spanned.step) or math.nan)


def _axis(override: Override) -> Axis:
    key, prefix, typed = override.key_or_group, override.get_key_element(), str(override.input_line).lstrip("+")
    if not override.is_interval_sweep():
        spanned: Any = override.value()
        if isinstance(spanned, RangeSweep) and (count := _count(spanned)) > MOST_VALUES:
            raise ConfigError(
                f"{typed} (command line): {count:.3g} values are too many, at most {MOST_VALUES} are listed"
            )
        texts = tuple(f"{prefix}={value}" for value in override.sweep_string_iterator())
        if not texts:
            raise ConfigError(f"{key} (command line): this list of values is empty")
        return Axis(key, texts=texts)
    interval: Any = override.value()
    low, high = interval.start, interval.end
    if not low < high:
        raise ConfigError(f"{typed} (command line): the interval must rise")
    log, whole = "log" in interval.tags, isinstance(low, int) and isinstance(high, int)
    if log and low <= 0:
        raise ConfigError(f"{typed} (command line): a log interval starts above 0")
    return Axis(key, prefix=prefix, low=float(low), high=float(high), log=log, whole=whole)
