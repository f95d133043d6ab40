"""The settings of a recorded run by the names that a person types, and their defaults. Imports no torch."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.config.option_files import option_files
from trainer.config.run_config import RunConfig, Tag, tagged
from trainer.config.schema import GROUPS, shared_parameters
from trainer.config.shell import setting


def typed_settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"optimizer": "adam", "optimizer.eps": 1e-8, "augmentation": ["flip"], "wandb.mode": "offline", …}."""
    whole = {**tree, **{group: default for group, default in younger_groups().items() if group not in tree}}
    return {**_younger_options(whole), **dict(_typed(whole))}


def _younger_options(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the settings that all options of a group have, which an earlier record may lack."""
    return {
        f"{group}.{name}": default
        for group in GROUPS
        if isinstance(tree.get(group), Mapping)
        for name, (_, default) in shared_parameters(group).items()
        if name not in tree[group]
    }


def younger_groups() -> dict[str, dict[str, Any]]:
    """Return the groups that a record of an earlier version may lack, as it would have held their defaults."""
    fields = {name: RunConfig.model_fields[name] for name in GROUPS if not RunConfig.model_fields[name].is_required()}
    return {name: {} if GROUPS[name].listed else {"name": field.default.name} for name, field in fields.items()}


def _typed(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if not isinstance(value, Mapping):
            yield key, value
        elif key not in GROUPS:
            yield from _below(value, key)
        elif GROUPS[key].listed:
            yield key, list(value)
            yield from _below(value, key)
        else:
            yield key, value.get("name")
            yield from _below({name: each for name, each in value.items() if name != "name"}, key)


def _below(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _below(value, f"{above}.{key}")
        else:
            yield f"{above}.{key}", value


def default_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a command would have with nothing but the techniques of these, typed as those are.

    A technique stands beside its own defaults, and below the name of its group beside the default technique.
    """
    from trainer.config.compose import Composer, job_of, own_part  # here: it imports Hydra

    composer = Composer(None)

    def composed(overrides: Iterable[str]) -> dict[str, Any]:
        words = list(overrides)
        return typed_settings(job_of(own_part(composer.compose(words)), words).tree)

    plain = composed(())
    chosen = composed(setting(key, value) for key, value in _techniques(settings))
    return {**chosen, **{key: value for key, value in plain.items() if key in GROUPS}}


def _techniques(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the technique of each group; one that `conf/` does not hold, as in a damaged file, has no defaults."""
    for key, group in GROUPS.items():
        names, known = settings.get(key), option_files(key)
        if group.listed and isinstance(names, list):
            yield key, [name for name in names if isinstance(name, str) and name in known] or "none"
        elif isinstance(names, str) and names in known:
            yield key, names


@dataclass(frozen=True)
class Recorded:
    """A setting of a run as a person types it; `default` is "" unless the value differs from it."""

    key: str
    value: str
    default: str
    differs: bool


def with_defaults(tree: Mapping[str, Any]) -> list[Recorded]:
    """Return every setting of a recorded run: techniques first, last what changes no result, such as folders.

    A setting that this version does not have differs, and is told as such.
    """
    settings = typed_settings(tree)
    defaults = default_settings(settings)
    without_effect = tagged(Tag.NO_EFFECT)
    found = []
    for key in sorted(settings, key=lambda key: (key.split(".")[0] in without_effect, key.split(".")[0] not in GROUPS)):
        differs = key not in defaults or not _same(settings[key], defaults[key])
        missing = "an own technique's" if _is_own(key, settings) else "this version has no such setting"
        default = shown_value(key, defaults[key]) if key in defaults else missing
        found.append(Recorded(key, shown_value(key, settings[key]), default if differs else "", differs))
    return found


def _is_own(key: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a setting is an option of a technique that this command was not given."""
    group, _, option = key.partition(".")
    if group not in GROUPS or not option:
        return False
    name = option.partition(".")[0] if GROUPS[group].listed else settings.get(group)
    return name not in option_files(group)


def _same(value: Any, default: Any) -> bool:
    """Return whether two values are equal; a switch is no number."""
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def shown_value(key: str, value: Any) -> str:
    """Return the value as the command line takes it: a text without quotes, `none` for no technique of a group."""
    if key in GROUPS and value == []:
        return "none"
    return value if isinstance(value, str) else setting(key, value).partition("=")[2]
