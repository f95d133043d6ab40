"""A study that takes further values: the plan of the whole, and why a command does not fit a study."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainer.config.recorded import shown_value, typed_settings
from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError
from trainer.study.axes import ARM, arm_of, canonical, override_key, plain_override
from trainer.study.fingerprint import free_settings, significant
from trainer.study.manifest import Manifest
from trainer.study.plan import Plan, PlannedRun, plain, plan_from

Identify = Callable[[RunConfig], str]
Values = Mapping[str, Sequence[str]]  # of each axis, as typed: {"seed": ["0", "1"]}


def united(plan: Plan, study: Manifest, code: str, identify: Identify, typed: bool) -> tuple[Plan, list[str]]:
    """Return the plan of the study and of the command together, and the ids of all runs of the whole grid.

    Its runs are those of both; the whole grid may have more. A command that is not `typed`, but made of the study's
    own, asks for further values only, and not for points that were dropped. Raises ConfigError with the reason if the
    command is one of another study, as its runs at the study's points are not the study's runs.
    """
    if study.code != code:
        raise ConfigError("it was trained with other code, or other versions of the libraries")
    free = free_settings(plan.settings)
    ours, theirs = (settings.model_dump(exclude=free) for settings in (plan.settings, study.settings))
    for key in ours:
        if ours[key] != theirs[key]:
            raise ConfigError(f"sweep.{key} is {theirs[key]} there and {ours[key]} here")
    if plan.settings.until is not None:
        raise ConfigError("with sweep.until=decided its arms and sweep.margin are fixed before the first look")
    if plan.settings.method != "grid":
        raise ConfigError(f"its ranges differ, and sweep.method={plan.settings.method} cannot mix points of two")
    if plan.sweep.tuned or study.tuned:
        raise ConfigError("its arms were tuned for its own comparison")
    compared = [text.partition("=")[0] for text in study.axes]
    if compared and (others := [axis.key for axis in plan.axes if axis.key not in compared]):
        raise ConfigError(f"it compares {', '.join(compared)}, and this one {', '.join(others)}")
    values = _united_values(plan, study)
    whole = plan_from(["-m", *with_values(plan.arguments, values)])
    by_id = {identify(run.config): run for run in whole.runs}
    for entry in study.entries:
        if entry.id not in by_id:
            raise ConfigError(_difference(whole, entry.point, entry.config))
    asked = plan.runs if typed else [run for run in plan.runs if _has_new_value(run, study)]
    wanted = {identify(run.config) for run in asked} | {entry.id for entry in study.entries}
    kept = tuple(run for identity, run in by_id.items() if identity in wanted)
    return replace(whole, runs=kept), list(by_id)


def with_values(arguments: Iterable[str], values: Values) -> list[str]:
    """Return the command with these values of its axes; one that a file sets is typed.

    Raises ConfigError if it names arms one by one, `sweep.arms.NAME=…`, and not all of them.
    """
    arguments = list(arguments)
    ablation = "ablate" in map(override_key, arguments)  # which makes the arms itself
    named = [text for text in arguments if override_key(text).startswith("sweep.arms.")]
    if named and len(named) != len(values.get(ARM, named)):
        raise ConfigError(f"it has other arms: give all of them by name, as in {named[0]}")
    typed = {key: each for key, each in values.items() if not (key == ARM and (ablation or named))}
    left = {("sweep.arms" if key == ARM else key): _typed(key, each) for key, each in typed.items()}
    words = [left.pop(override_key(text), text) for text in arguments if override_key(text) != "retrain"]
    return [*words, *left.values()]


def values_of(study: Manifest) -> dict[str, list[str]]:
    """Return the values of each axis that the study's runs have, in order."""
    keys = dict.fromkeys(key for entry in study.entries for key in entry.texts)
    texts = {key: [entry.texts[key] for entry in study.entries if key in entry.texts] for key in keys}
    return {key: unique(_value(key, text) for text in texts[key]) for key in keys}


def added_values(study: Manifest, plan: Plan) -> str:
    """Return the values that the plan has and the study has not: "seed=3,4"."""
    old, new = values_of(study), [plain(run.point) for run in plan.runs]
    texts = []
    for key in dict.fromkeys(key for point in new for key in point):
        more = [each for each in unique(point[key] for point in new) if each not in old.get(key, [])]
        if key not in old:  # the value that the study's runs had all along is no new one
            more = [each for each in more if each not in fixed_values(key, [entry.config for entry in study.entries])]
        if more:
            texts.append(" | ".join(more) if key == ARM else f"{key}={','.join(more)}")
    return " ".join(texts)


def _united_values(plan: Plan, study: Manifest) -> dict[str, list[str]]:
    """Return the values of every axis of the study or the plan; what varies in one of them is fixed in the other."""
    old = values_of(study)
    configs = [run.config.tree() for run in plan.runs]
    values = {}
    for key in dict.fromkeys([*old, *(axis.key for axis in plan.sweep.axes)]):
        typed = [_value(key, text) for axis in plan.sweep.axes if axis.key == key for text in axis.texts]
        before = old.get(key) or fixed_values(key, [entry.config for entry in study.entries])
        values[key] = unique([*before, *(typed or fixed_values(key, configs))])
    return values


def _has_new_value(run: PlannedRun, study: Manifest) -> bool:
    """Return whether a run has a value that the study has not: of what is compared, or as one more run of an arm."""
    point, old, configs = plain(run.point), values_of(study), [entry.config for entry in study.entries]
    known = {key: old.get(key) or unique(fixed_values(key, configs)) for key in point}
    new = {key for key in point if len(unique([*known[key], point[key]])) > len(known[key])}
    arms = [arm_of(entry.point) for entry in study.entries]
    here = arm_of(point)
    same = any(all(here.get(key) == value for key, value in arm.items()) for arm in arms)
    return bool(new & here.keys() or (new and same))


def fixed_values(key: str, configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the values that a setting has in these runs. Raises ConfigError for an axis of several settings."""
    settings = [typed_settings(config) for config in configs]
    if key == ARM or any(key not in each for each in settings):
        raise ConfigError(f"{'an experiment with arms' if key == ARM else key} is compared in one of them only")
    return [shown_value(key, each[key]) for each in settings]


def _difference(whole: Plan, point: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """Return the first setting in which the command's run at a point of the study differs from the study's."""
    theirs = typed_settings(significant(config))
    for run in whole.runs:
        here = plain(run.point)
        if all(here.get(key) == value for key, value in point.items()):
            ours = typed_settings(significant(run.config.tree()))
            for key in ours:
                if key in theirs and ours[key] != theirs[key] and key not in here:
                    return f"{key} is {shown_value(key, theirs[key])} there and {shown_value(key, ours[key])} here"
    return "its data, its settings or the code of its techniques differ"


def _value(key: str, text: str) -> str:
    """Return the value in an override text; an arm's settings in full."""
    return plain_override(text) if key == ARM else plain_override(text).partition("=")[2]


def unique(values: Iterable[str]) -> list[str]:
    """Return the values in order, each once; 0.001 and 1e-3 are one."""
    found = dict[Any, str]()
    for value in values:
        found.setdefault(canonical(f"={value}"), value)
    return list(found.values())


def _typed(key: str, values: Sequence[str]) -> str:
    """Return the override of an axis with these values."""
    if key == ARM:
        return f"sweep.arms={json.dumps(list(values), ensure_ascii=False)}"
    # One value alone would be no axis, and its runs would lie at other points.
    return f"{key}={','.join(values)}" if len(values) > 1 else f"{key}=choice({values[0]})"
