"""The settings of a command line: the kind of each, and whether a text is a value of it. Imports no torch."""

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from trainer.config.option_files import option_files
from trainer.config.own import per_own
from trainer.config.run_config import AblationConfig, RunConfig, SweepConfig, Tag, TuneConfig, WandbConfig, tagged
from trainer.config.schema import GROUPS, shared_parameters, techniques
from trainer.config.types import DEVICES, Device, Name, Project, Switch, Text

SECTIONS: dict[str, type[BaseModel]] = {"wandb": WandbConfig, "sweep": SweepConfig, "tune": TuneConfig}
OF_STUDY = ("sweep", "tune", "retrain", *AblationConfig.model_fields)  # settings of a study, which no run has
APART = (*OF_STUDY, "hydra", "resume", "output_dir")  # settings that do not belong to a run, or to one alone


def field_kind(model: type[BaseModel], name: str) -> Any:
    """Return the type of a field with its range, without the tags."""
    field = model.model_fields[name]
    limits = [each for each in field.metadata if not isinstance(each, Tag)]
    return Annotated[(field.annotation, *limits)] if limits else field.annotation


@per_own
def kinds_of(key: str, technique: str = "") -> tuple[Any, ...]:
    """Return the types of a setting such as "lr" or "optimizer.betas"; none for a group or an unknown key.

    There are several where techniques of a group have an option of the same name, unless the `technique` is named.
    """
    root, _, option = key.partition(".")
    if key.startswith(("sweep.params.", "sweep.arms.")):
        return (Text,)
    if root in SECTIONS:
        return (field_kind(SECTIONS[root], option),) if option in SECTIONS[root].model_fields else ()
    if root in GROUPS:
        owner, _, name = option.rpartition(".")
        technique = technique or owner
        each = [options for named, options in techniques(root).items() if technique in ("", named)]
        return tuple(options[name][0] for options in (*each, shared_parameters(root)) if name in options)
    if key == "retrain":
        return (Switch,)
    at_root: tuple[type[BaseModel], ...] = (RunConfig, AblationConfig)
    return tuple(field_kind(model, key) for model in at_root if key in model.model_fields)


def options_of(group: str) -> list[str]:
    """Return the names of the options of a group, own ones as well."""
    return list(option_files(group))


def takes_list(key: str, technique: str = "") -> bool:
    """Return whether a list is a value of the setting."""
    kinds = [part for kind in kinds_of(key, technique) for part in (kind, *get_args(kind))]
    return any(get_origin(kind) is tuple for kind in kinds) or (key in GROUPS and GROUPS[key].listed)


def named_values(key: str, technique: str = "") -> list[str]:
    """Return the values of a setting that takes one of several: those of a Literal, true and false, null, devices."""
    parts = [part for kind in kinds_of(key, technique) for part in (kind, *get_args(kind))]
    literals = [str(value) for part in parts if get_origin(part) is Literal for value in get_args(part)]
    switches = ["true", "false"] * (bool in parts)
    devices = list(DEVICES) * (Device in kinds_of(key, technique))
    return list(dict.fromkeys([*literals, *switches, *devices, *(["null"] * (type(None) in parts))]))


def takes_text(key: str) -> bool:
    """Return whether any text is a value of the setting."""
    return any(kind in (Text, Text | None, Name | None, Project) for kind in kinds_of(key))


def comparable(key: str) -> bool:
    """Return whether a study may give the setting several values: whether it belongs to a run and changes its result.

    Another `data_dir` may hold other data.
    """
    root = key.replace("/", ".").partition(".")[0]
    return root not in APART and (root not in tagged(Tag.NO_EFFECT) or root == "data_dir")


def values_in(key: str, text: str) -> list[Any] | None:
    """Return the values that Hydra reads in the text, several for a list with commas, or None if it reads none."""
    from hydra.errors import HydraException

    try:
        override = _parsed(key, text)
        if not override.is_sweep_override():
            return [override.value()]
        return [_value(key, each) for each in override.sweep_string_iterator()] if override.is_choice_sweep() else None
    except (HydraException, ValueError):
        return None


def _value(key: str, text: str) -> Any:
    return _parsed(key, text).value()


def _parsed(key: str, text: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser  # not at the top: a report needs no Hydra

    return OverridesParser.create().parse_override(f"{key}={text}")


def accepts(key: str, text: str, technique: str = "", many: bool = False) -> bool:
    """Return whether `key=text` is a value that the setting takes; with `many`, one or several for `-m`."""
    values = values_in(key, text)
    if values is None or (len(values) > 1 and not many):
        return False
    return all(_is_value(key, value, technique) for value in values)


def _is_value(key: str, value: Any, technique: str) -> bool:
    if key in GROUPS or key == "experiment":
        names = value if isinstance(value, list) and key in GROUPS and GROUPS[key].listed else [value]
        return bool(names) and all(name in options_of(key) for name in names)
    return any(is_of_kind(kind, value) for kind in kinds_of(key, technique))


def is_of_kind(kind: Any, value: Any) -> bool:
    """Return whether a plain value is one of this type."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True
