"""The checks of a configuration: types, ranges, names and settings that contradict each other. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from trainer.config.run_config import RunConfig, SweepConfig, Tag, WandbConfig
from trainer.config.schema import CONF, GROUPS, REQUIRED, Choice, shared_parameters, techniques
from trainer.config.suggestions import unknown
from trainer.config.types import describe
from trainer.errors import ConfigError


def check(tree: Mapping[str, Any], overrides: Iterable[str] = (), files: Sequence[str] = ()) -> RunConfig:
    """Return the typed run for a composed tree of plain values.

    `overrides` are the keys set on the command line and `files` the YAML files of the composition, latest first: they
    show where a wrong value was written. Raises ConfigError with one line: the wrong value, its place, the accepted
    values and the nearest match.
    """
    origin = _Origin(set(overrides), files)
    scalars = {str(key): value for key, value in tree.items() if key not in GROUPS}
    if isinstance(scalars.get("wandb"), Mapping):
        scalars["wandb"] = _validate(WandbConfig, scalars["wandb"], ("wandb",), "wandb", origin)
    # Placeholders for the groups: their own errors, which are worded differently, come after those of the scalars.
    stand_ins = {name: () if group.listed else Choice(name, "") for name, group in GROUPS.items()}
    config = _validate(RunConfig, {**scalars, **stand_ins}, (), "", origin)
    config = config.model_copy(update={name: _choose(name, tree.get(name), origin) for name in GROUPS})
    _refuse_contradictions(config)
    return config


def check_sweep(tree: Any, overrides: Iterable[str] = (), files: Sequence[str] = ()) -> SweepConfig:
    """Return the typed `sweep` section. Raises ConfigError like `check`."""
    origin = _Origin(set(overrides), files)
    if not isinstance(tree, Mapping):
        raise ConfigError(f"sweep={_shown(tree)} ({origin(['sweep'])}): must be a group of options")
    sweep: SweepConfig = _validate(SweepConfig, tree, ("sweep",), "sweep", origin)
    if sweep.method == "grid" and (sweep.stages > 1 or sweep.pruner != "none"):
        what = f"sweep.stages={sweep.stages}" if sweep.stages > 1 else f"sweep.pruner={sweep.pruner}"
        raise ConfigError(f"{what} needs sweep.method=random or tpe: a grid tries every point to its end")
    return sweep


class _Origin:
    """The place where a value was written: the command line or a YAML file."""

    def __init__(self, overrides: set[str], files: Sequence[str]) -> None:
        self.overrides, self.files = overrides, files

    def __call__(self, path: Sequence[str]) -> str:
        dotted = ".".join(path)
        for key in self.overrides:
            # `optimizer=adam` names a file; the values in it were not typed.
            if f"{key}.".startswith(f"{dotted}.") or (key not in GROUPS and dotted.startswith(f"{key}.")):
                return "command line"
        return next((f"conf/{file}" for file in self.files if _holds(CONF / file, path)), "configuration")


def _holds(file: Path, path: Sequence[str]) -> bool:
    """Return whether this YAML file sets or sweeps the value at `path`, with or without its group in front."""
    tree = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    dotted = ".".join(path)
    sweep = ("sweep", "params", dotted)
    arms = ((tree or {}).get("sweep") or {}).get("arms") or []
    if any(f" {dotted}=" in f" {arm}" for arm in arms):
        return True
    starts = (path, sweep, path[1:]) if path[0] == file.parent.name else (path, sweep)
    for keys in starts:
        node = tree
        for key in keys:
            node = node[key] if isinstance(node, dict) and key in node else None
        if node is not None and keys:
            return True
    return False


def _choose(group: str, value: Any, origin: _Origin) -> Choice | tuple[Choice, ...]:
    accepted = ", ".join(sorted(techniques(group)))
    if not isinstance(value, Mapping):
        several = f"a list such as [{accepted.split(', ')[0]}]; items: " if GROUPS[group].listed else "one of "
        raise ConfigError(f"{group}={_shown(value)} ({origin([group])}): must be {several}{accepted}")
    if GROUPS[group].listed:
        return tuple(_choice(group, name, options, (group, str(name)), origin) for name, options in value.items())
    if "name" not in value:
        raise ConfigError(f"{group}.name: no value is given ({origin([group])}); it must be one of {accepted}")
    options = {key: option for key, option in value.items() if key != "name"}
    return _choice(group, value["name"], options, (group,), origin)


def _choice(group: str, name: Any, options: Any, path: tuple[str, ...], origin: _Origin) -> Choice:
    accepted, shared = techniques(group), shared_parameters(group)
    if not isinstance(name, str) or name not in accepted:
        where = origin(path if GROUPS[group].listed else [group, "name"])
        raise ConfigError(unknown(f"{group}={name}", str(name), accepted, where, f"there is no such {group}"))
    if not isinstance(options, Mapping | None):
        raise ConfigError(f"{'.'.join(path)}={options!r} ({origin(path)}): must hold the options of {name}")
    checked = dict(_validate(_schema(group, name), options or {}, path, name, origin))
    return Choice(
        group,
        name,
        {key: value for key, value in checked.items() if key not in shared},
        {key: value for key, value in checked.items() if key in shared},
    )


@cache
def _schema(group: str, name: str) -> type[BaseModel]:
    """Return the schema of one technique: its options and those that its group shares."""
    parameters = {**techniques(group)[name], **shared_parameters(group)}
    fields: dict[str, Any] = {
        key: (kind, ... if default is REQUIRED else default) for key, (kind, default) in parameters.items()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)


def _validate(
    schema: type[BaseModel], values: Mapping[Any, Any], path: tuple[str, ...], owner: str, origin: _Origin
) -> Any:
    try:
        return schema(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        # Unknown keys first: a misspelt key also leaves the right one missing.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    key = str(first["loc"][0])
    full, where = ".".join([*path, key]), origin([*path, key])
    if first["type"] == "extra_forbidden":
        reason = f"{owner} has no such option" if path else "there is no such key"
        beside = ("retrain", "sweep") if schema is RunConfig else ()
        root = RunConfig.model_fields if path else ()
        raise ConfigError(unknown(full, key, [*schema.model_fields, *beside], where, reason, root))
    field = schema.model_fields[key]
    limits = [each for each in field.metadata if not isinstance(each, Tag)]
    accepted = describe(Annotated[(field.annotation, *limits)] if limits else field.annotation)
    if first["type"] == "missing" and len(first["loc"]) == 1:
        raise ConfigError(f"{full}: no value is given ({where}); it must be {accepted}")
    raise ConfigError(f"{full}={_shown(values[key])} ({where}): must be {accepted}")


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
    checks = import_module("trainer.techniques.checks")
    for group in GROUPS:
        chosen = getattr(run, group)
        choices = chosen if GROUPS[group].listed else (chosen,)
        for name in (group, *(f"{group}_{choice.name}" for choice in choices)):
            getattr(checks, name, _no_check)(run)


def _no_check(_run: RunConfig) -> None:
    """Stand in for a technique that contradicts nothing."""
