"""The parts of `--help` that are read from `conf/` and the schema: options, settings, accepted values, comments."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from trainer.config.option_files import OptionFile, SignatureFile, option_files, own_conf
from trainer.config.schema import CONF, GROUPS, REQUIRED, shared_parameters, techniques
from trainer.errors import ConfigError


class Setting(NamedTuple):
    """A setting with its default and its accepted values, all as a person types them, and its comment."""

    name: str
    default: str
    accepted: str
    meaning: str


class Section(NamedTuple):
    """The settings of one option or of the root; `notes` are sentences, `lines` those of an experiment's file."""

    title: str
    notes: tuple[str, ...]
    settings: tuple[Setting, ...]
    lines: tuple[str, ...] = ()


def options(group: str, own: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (option, its purpose) for every YAML file of the group; the default option is marked with a star."""
    default = f"- {group}: "
    chosen = [line.partition(default)[2] for line in _lines(CONF / "config.yaml") if default in line]
    for name, file in option_files(group, own).items():
        yours = "" if isinstance(file, SignatureFile) or file.parent.parent not in own_conf() else " (yours)"
        yield name + (" *" if name in chosen else ""), first_comment(file) + yours


def first_comment(file: OptionFile) -> str:
    """Return the first comment that is not one of Hydra's headers."""
    return next(iter(_comments_above(file)), "")


def asked(file: OptionFile) -> dict[str, str]:
    """Return {"Question": …, "Expected": …} of an experiment's file, what it has of them."""
    sweep = _tree(file).get("sweep")
    told = {"Question": "question", "Expected": "expect"}
    return {name: str(sweep[key]) for name, key in told.items() if sweep.get(key)} if isinstance(sweep, dict) else {}


def settings() -> Iterator[tuple[str, str]]:
    """Yield (name=default, its purpose) for every scalar of config.yaml."""
    parent = ""
    for line in _lines(CONF / "config.yaml"):
        if line.startswith(("defaults:", "hydra:")):
            parent = "-"
        elif match := re.fullmatch(r"(\s*)(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?", line):
            indent, name, value, comment = match.groups()
            if not indent:
                parent = "" if value else f"{name}."
            if value and parent != "-":
                yield f"{parent if indent else ''}{name}={value}", comment or ""


def root_settings() -> Iterator[Setting]:
    """Yield every scalar of config.yaml with its accepted values."""
    # pydantic is imported here: plain `--help` need not wait for it.
    from trainer.config.run_config import AblationConfig, RunConfig, SweepConfig, Tag, TuneConfig, WandbConfig
    from trainer.config.types import describe

    sections: dict[str, Any] = {"wandb": WandbConfig, "sweep": SweepConfig, "tune": TuneConfig}
    at_root = {**RunConfig.model_fields, **AblationConfig.model_fields}
    for text, meaning in settings():
        name, _, default = text.partition("=")
        section, _, key = name.rpartition(".")
        accepted = "true or false"
        if name != "retrain":  # belongs to a study, not to a run, and therefore to no model
            field = (sections[section].model_fields if section else at_root)[key]
            limits = [limit for limit in field.metadata if not isinstance(limit, Tag)]
            accepted = describe(Annotated[(field.annotation, *limits)] if limits else field.annotation)
        yield Setting(name, default, accepted, meaning)


def shared_settings(group: str) -> Iterator[Setting]:
    """Yield the settings that every option of the group has."""
    from trainer.config.types import describe

    default = next(name for name, _ in options(group) if name.endswith(" *")).removesuffix(" *")
    notes = _notes(CONF / group / f"{default}.yaml")
    for key, (kind, value) in shared_parameters(group).items():
        yield Setting(f"{group}.{key}", shown(value), describe(kind), notes.get(key, ""))


def option_settings(group: str, name: str, file: OptionFile, with_shared: bool = False) -> Iterator[Setting]:
    """Yield the settings of one option: the value in its file, the accepted values, the comment behind the value.

    `with_shared`: also those that all options of the group have, and the settings of the root that the file sets.
    """
    from trainer.config.types import describe

    tree, notes, listed = _tree(file), _notes(file), GROUPS[group].listed
    values: Any = (tree.get(name) if listed else tree.get(group, tree)) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: must be lines of key: value")
    technique, prefix = (name, f"{group}.{name}") if listed else (str(values.get("name", name)), group)
    own, shared = techniques(group).get(technique, {}), shared_parameters(group)
    for key, (kind, default) in {**own, **shared}.items():
        if with_shared or key not in shared:
            value = values.get(key, default)
            text = "" if value in (REQUIRED, "???") else shown(value)
            yield Setting(f"{prefix}.{key}", text, describe(kind), notes.get(key, ""))
    for key, value in tree.items() if with_shared and group in tree else ():
        if key not in (group, "defaults"):
            yield Setting(key, shown(value), "set by this option", notes.get(key, ""))


def sections(word: str, own: Path | None = None) -> list[Section]:
    """Return what can be set under a word: optimizer, optimizer=adam, augmentation.crop, lr, wandb; [] if nothing.

    `own`: the folder of `--config-dir`.
    """
    key, _, value = word.lstrip("+~").partition("=")
    group = key.partition(".")[0]
    if group == "experiment":
        return [_experiment(name, file) for name, file in option_files(group, own).items() if value in ("", name)]
    if group not in GROUPS:
        named = tuple(each for each in root_settings() if f"{each.name}.".startswith(f"{key}."))
        found = [Section(key, (), named)] if named else []
        return found or [each for name in (*GROUPS, "experiment") for each in _named(name, key, own)]
    chosen = value.strip("[]").replace(" ", "").split(",") if value else []
    files = option_files(group, own).items()
    if chosen:
        return [_option(group, name, file, with_shared=True) for name, file in files if name in chosen]
    found = [_option(group, name, file) for name, file in files]
    shared = [Section(f"every {group}", (), tuple(shared_settings(group)))] if shared_parameters(group) else []
    if key == group:
        return [*found, *shared]
    # A setting, or for a listed group an option: those below it.
    kept = [each._replace(settings=_below(key, each.settings)) for each in [*found, *shared]]
    return [each for each in kept if each.settings or key == each.title.replace("=", ".")]


def _named(group: str, option: str, own: Path | None) -> list[Section]:
    return sections(f"{group}={option}", own) if option in option_files(group, own) else []


def _below(key: str, several: tuple[Setting, ...]) -> tuple[Setting, ...]:
    return tuple(each for each in several if f"{each.name}.".startswith(f"{key}."))


def _option(group: str, name: str, file: OptionFile, with_shared: bool = False) -> Section:
    notes = _comments_above(file)
    members = re.findall(r"^  - (\w+)$", _text(file), re.MULTILINE)
    if members and GROUPS[group].listed:
        notes = (*notes, f"The same as {group}='[{','.join(members)}]'")
    return Section(f"{group}={name}", notes, tuple(option_settings(group, name, file, with_shared)))


def _experiment(name: str, file: OptionFile) -> Section:
    """Return the comments, the question and what to expect as sentences, and the other lines."""
    told = tuple(f"{key}: {text}" for key, text in asked(file).items())
    # Each with the lines over which its text goes on.
    others = re.sub(r"^  (question|expect):.*\n(?:    .*\n|\n)*", "", f"{_text(file)}\n", flags=re.MULTILINE)
    lines = tuple(line for line in others.splitlines() if line.strip() and not line.startswith("#"))
    return Section(f"experiment={name}", (*_comments_above(file), *told), (), lines)


def shown(value: Any) -> str:
    """Return the value as the command line takes it."""
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=1000)).splitlines()[0].replace(", ", ",")


def _notes(file: OptionFile) -> dict[str, str]:
    """Return the comment that stands behind the value of each key."""
    return dict(re.findall(r"^ *(\w+):[^#\n]*# *(.*)$", _text(file), flags=re.MULTILINE))


def _comments_above(file: OptionFile) -> tuple[str, ...]:
    """Return the comments at the top of a file, without Hydra's headers."""
    return tuple(line[1:].strip() for line in _lines(file) if re.match(r"#\s*[^@\s]", line))


def _lines(file: OptionFile) -> list[str]:
    return _text(file).splitlines()


def _text(file: OptionFile) -> str:
    """Return the text of a file, which may be one of the user's. Raises ConfigError if it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: must be a text in UTF-8 ({error.reason} at byte {error.start})") from None


def _tree(file: OptionFile) -> dict[str, Any]:
    """Return the settings in a file. Raises ConfigError with the line for what is no YAML of settings."""
    import yaml

    try:
        tree = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{place}: {getattr(error, 'problem', None) or 'is not YAML'}") from None
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{file}: must be lines of key: value")
    return tree or {}
