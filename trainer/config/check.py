"""The checks of a configuration: types, ranges, names and settings that contradict each other. Imports no torch."""

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from trainer.config.advice import meant, repaired
from trainer.config.origin import GLOBAL, Origin, choice_line, has_needless_package
from trainer.config.own import per_own
from trainer.config.run_config import AblationConfig, RunConfig, SweepConfig, TuneConfig, WandbConfig
from trainer.config.schema import GROUPS, REQUIRED, Choice, module_file, own_of, shared_parameters, techniques
from trainer.config.settings import OF_STUDY, field_kind, is_of_kind
from trainer.config.suggestions import no_such_option, unknown
from trainer.config.types import describe
from trainer.errors import ConfigError, printable
from trainer.stats.times import TIMES

NOTHING_TYPED: Mapping[str, str] = MappingProxyType({})


def check(
    tree: Mapping[str, Any],
    typed: Mapping[str, str] = NOTHING_TYPED,
    files: Sequence[Path] = (),
    needed: Collection[str] | None = None,
) -> RunConfig:
    """Return the typed run for a composed tree of plain values.

    `typed`: {key set on the command line: its text}; `files`: the YAML files of the composition, latest first. They
    show where a wrong value was written. `needed`: the groups whose techniques are used, None for all; an own technique
    of another group, as in the record of a run, may be unknown, and is taken as it is. Raises ConfigError with one
    line: the wrong value, its place, the accepted values and the nearest match.
    """
    origin = Origin(typed, files)
    scalars = {str(key): value for key, value in tree.items() if key not in GROUPS}
    if isinstance(scalars.get("wandb"), Mapping):
        scalars["wandb"] = _validate(WandbConfig, scalars["wandb"], ("wandb",), "wandb", origin)
    # Placeholders for the groups: their own errors, which are worded differently, come after those of the scalars.
    stand_ins = {name: () if group.listed else Choice(name, "") for name, group in GROUPS.items()}
    config = _validate(RunConfig, {**scalars, **stand_ins}, (), "", origin)
    # A record may be older than a group that has a default.
    chosen = [name for name in GROUPS if name in tree or RunConfig.model_fields[name].is_required()]
    missing = {name: RunConfig.model_fields[name].default for name in GROUPS if name not in chosen}
    techniques_of_run = {name: _choose(name, tree.get(name), origin, needed) for name in chosen}
    config = config.model_copy(update=techniques_of_run | missing)
    _refuse_contradictions(config)
    return config


def check_sweep(tree: Any, typed: Mapping[str, str] = NOTHING_TYPED, files: Sequence[Path] = ()) -> SweepConfig:
    """Return the typed `sweep` section. Raises ConfigError like `check`."""
    origin = Origin(typed, files)
    if not isinstance(tree, Mapping):
        raise ConfigError(f"sweep={_shown(tree)} ({origin(['sweep'])}): must be a group of options")
    times = [name.removeprefix("validation_") for name in TIMES]
    if str(tree.get("metric")) in (*techniques("metric"), *times):  # as in metric=[macro_f1]
        tree = {**tree, "metric": f"validation_{tree['metric']}"}
    at_root = {key: tree[key] for key in AblationConfig.model_fields if key in tree}
    ablation = _validate(AblationConfig, at_root, (), "", origin)
    if ablation.ablate_only is not None and ablation.ablate is None:
        raise ConfigError("ablate_only says which techniques are ablated: add ablate=each, add or pairs")
    if isinstance(tree.get("tune"), Mapping):
        tree = {**tree, "tune": _validate(TuneConfig, tree["tune"], ("tune",), "tune", origin)}
    sweep: SweepConfig = _validate(SweepConfig, tree, ("sweep",), "sweep", origin)
    if sweep.method == "grid" and (sweep.stages > 1 or sweep.pruner != "none"):
        what = f"sweep.stages={sweep.stages}" if sweep.stages > 1 else f"sweep.pruner={sweep.pruner}"
        raise ConfigError(f"{what} needs sweep.method=random, tpe or gp: a grid tries every point to its end")
    _check_target(sweep, times)
    if sweep.until is not None and sweep.method != "grid":
        raise ConfigError(
            f"sweep.until={sweep.until} needs sweep.method=grid: {sweep.method} chooses other points as it goes on"
        )
    if list(sweep.looks) != sorted({*sweep.looks}):
        raise ConfigError(f"sweep.looks={list(sweep.looks)} ({origin(['sweep', 'looks'])}): must rise, as [3,6,12]")
    if sweep.method == "grid" and sweep.confirm:
        raise ConfigError(
            f"sweep.confirm={sweep.confirm} needs sweep.method=random, tpe or gp: it trains the best points again"
        )
    return sweep


def _check_target(sweep: SweepConfig, times: Sequence[str]) -> None:
    """Raise ConfigError for a time to target without a target, a target without it, and for a pruner."""
    if sweep.metric in TIMES and sweep.target is None:
        named = sweep.metric.removeprefix("validation_")
        raise ConfigError(f"sweep.metric={named}: needs the validation accuracy to reach, as sweep.target=0.97")
    if sweep.target is not None and sweep.metric not in TIMES:
        raise ConfigError(f"sweep.target={sweep.target:g} needs sweep.metric={', '.join(times[:-1])} or {times[-1]}")
    if sweep.metric in TIMES and sweep.pruner != "none":
        raise ConfigError(f"sweep.pruner={sweep.pruner}: would stop runs before they reach sweep.target: use none")


def _choose(group: str, value: Any, origin: Origin, needed: Collection[str] | None) -> Choice | tuple[Choice, ...]:
    accepted = ", ".join(sorted(techniques(group)))
    if not isinstance(value, Mapping):
        several = f"a list such as [{accepted.split(', ')[0]}]; items: " if GROUPS[group].listed else "one of "
        own = isinstance(value, str) and origin.in_yaml([group])
        line = f". Write below defaults: {choice_line(group, str(value))}" * own
        raise ConfigError(f"{group}={_shown(value)} ({origin([group])}): must be {several}{accepted}{line}")
    if GROUPS[group].listed:
        return tuple(
            _unknown(group, name, options, needed) or _choice(group, name, options, (group, str(name)), origin)
            for name, options in value.items()
        )
    if "name" not in value:
        raise ConfigError(f"{group}.name: no value is given ({origin.chosen(group)}); it must be one of {accepted}")
    options = {key: option for key, option in value.items() if key != "name"}
    return _unknown(group, value["name"], options, needed) or _choice(group, value["name"], options, (group,), origin)


def _unknown(group: str, name: Any, options: Any, needed: Collection[str] | None) -> Choice | None:
    """Return the choice of a technique that is not known and not needed; None for all others."""
    if needed is None or group in needed or not isinstance(name, str) or name in techniques(group):
        return None
    own = dict(options) if isinstance(options, Mapping) else {}
    defaults = {key: default for key, (_, default) in shared_parameters(group).items()}
    shared = {key: own.pop(key, default) for key, default in defaults.items()}
    return Choice(group, printable(name), own, shared)


def _choice(group: str, name: Any, options: Any, path: tuple[str, ...], origin: Origin) -> Choice:
    accepted, shared = techniques(group), shared_parameters(group)
    if not isinstance(name, str) or name not in accepted:
        place = path if GROUPS[group].listed else (group, "name")
        file = origin.file(place)
        if file and file.stem == name:
            raise ConfigError(
                f"{group}={name} ({origin(place)}): {module_file(group)} has no function {name}. Accepted:"
                f" {', '.join(sorted(accepted))}, or a function that you add"
            )
        raise ConfigError(no_such_option(group, str(name), accepted, origin(place)))
    if not isinstance(options, Mapping | None):
        first = next(iter({**accepted[name], **shared}), None)
        hint = f", such as {'.'.join(path)}.{first}={_shown(options)}" if first else ""
        raise ConfigError(f"{'.'.join(path)}={_shown(options)} ({origin(path)}): must hold the options of {name}{hint}")
    checked = dict(_validate(_schema(group, name), options or {}, path, name, origin))
    return Choice(
        group,
        name,
        {key: value for key, value in checked.items() if key not in shared},
        {key: value for key, value in checked.items() if key in shared},
        own_of(group, name),
    )


@per_own
def _schema(group: str, name: str) -> type[BaseModel]:
    """Return the schema of one technique: its options and those that its group shares."""
    parameters = {**techniques(group)[name], **shared_parameters(group)}
    fields: dict[str, Any] = {
        key: (kind, ... if default is REQUIRED else default) for key, (kind, default) in parameters.items()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)


def _validate(
    schema: type[BaseModel], values: Mapping[Any, Any], path: tuple[str, ...], owner: str, origin: Origin
) -> Any:
    try:
        return schema(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        # Unknown keys first: a misspelt key also leaves the right one missing.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    name = str(first["loc"][0])
    full, where = (*path, name), origin([*path, name])
    if first["type"] == "extra_forbidden":
        raise ConfigError(_unknown_key(schema, full, where, owner, origin))
    kind, value = field_kind(schema, name), values.get(name)
    if get_origin(kind) is dict and isinstance(value, Mapping) and len(first["loc"]) > 1:  # one of sweep.params
        inner = first["loc"][1]
        full, kind, value = (*full, str(inner)), get_args(kind)[1], value[inner]
        where = origin(full)
    if first["type"] == "missing" and len(first["loc"]) == 1:
        raise ConfigError(f"{'.'.join(full)}: no value is given ({where}); it must be {describe(kind)}")
    text = origin.text(full)
    number = isinstance(value, int | float) and text is not None
    shown = text if number else _shown(value)
    if origin.is_swept(full):
        text = None
    elif isinstance(value, list) and is_of_kind(kind, ""):  # the values of an axis, in a YAML file
        text = ",".join(map(str, value))
    hint = _hint(full, text, kind, owner, origin)
    raise ConfigError(f"{'.'.join(full)}={shown} ({where}): must be {describe(kind)}{hint}")


def _unknown_key(schema: type[BaseModel], full: tuple[str, ...], where: str, owner: str, origin: Origin) -> str:
    reason = f"{owner} has no such option" if len(full) > 1 else "there is no such key"
    beside = OF_STUDY if schema is RunConfig else ()
    root = RunConfig.model_fields if len(full) > 1 else ()
    line = unknown(".".join(full), full[-1], [*schema.model_fields, *beside], where, reason, root, origin.chosen_names)
    file = origin.file(full)
    if len(full) == 1 and file and has_needless_package(file):
        return f"{line}. An option of {file.parent.name} stands in a file without the line {GLOBAL}"
    return line


def _hint(full: tuple[str, ...], text: str | None, kind: Any, owner: str, origin: Origin) -> str:
    """Return what was probably meant by a value of the wrong type, in the form in which it was written."""
    if text is None:
        return ""
    key = ".".join(full)
    if not origin.in_yaml(full):
        return meant(key, text, owner)
    if is_of_kind(kind, text):
        return f'. YAML does not read this as a text. In quotes it is one: {full[-1]}: "{text}"'
    found = repaired(key, text, owner)
    return f". Did you mean {full[-1]}: {found}?" if found else ""


def _shown(value: Any) -> str:
    """Return the value as YAML writes it: null, true, 'ten', 2.5."""
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))


def _refuse_contradictions(run: RunConfig) -> None:
    """Options that are each right and cannot be meant together: first the core's, then those of the techniques."""
    fold, folds = run.dataset.shared["fold"], run.dataset.shared["folds"]
    contradictions = {
        f"validate_every={run.validate_every} is more than epochs={run.epochs}: early stopping would never look;"
        " lower it or set early_stop_patience=null": (
            run.early_stop_patience is not None and run.validate_every > run.epochs
        ),
        f"dataset.fold={fold} needs dataset.folds=N with N above {fold}": (
            fold is not None and (folds is None or fold >= folds)
        ),
        f"dataset.folds={folds} needs dataset.fold=0 … {(folds or 0) - 1}: the part to validate on": (
            folds is not None and fold is None
        ),
        "dataset.folds=1 leaves nothing to train on: at least 2": folds == 1,
        "resume continues in its own folder: leave output_dir out": (
            run.resume is not None and run.output_dir is not None
        ),
    }
    for sentence, contradicted in contradictions.items():
        if contradicted:
            raise ConfigError(sentence)
    _check_techniques(run)


def _check_techniques(run: RunConfig) -> None:
    """Call the checks of every group and of every chosen technique, found by their names."""
    # Loaded by name, as the techniques are: their package lies above this one, which knows none of them.
    modules = [import_module(f"trainer.techniques.{name}") for name in ("checks", "network_checks")]
    for group in GROUPS:
        chosen = getattr(run, group)
        choices = chosen if GROUPS[group].listed else (chosen,)
        for name in (group, *(f"{group}_{choice.name}" for choice in choices)):
            for checks in modules:
                getattr(checks, name, _no_check)(run)


def _no_check(_run: RunConfig) -> None:
    """Stand in for a technique that contradicts nothing."""
