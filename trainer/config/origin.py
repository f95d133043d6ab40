"""Where a setting was written: on the command line, or in which line of which YAML file. Imports no torch."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from trainer.config.schema import CONF, GROUPS
from trainer.errors import ConfigError

GLOBAL = "# @package _global_"  # the first line of a file whose settings stand at the root
# YAML 1.1 reads 010 as 8 (octal) and 1:30 as 90 (base 60).
OLD_NUMBER = re.compile(r"[+-]?(0[0-7_]+|\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?)")


class Origin:
    """The place where each value of a run was written. `typed`: {key: text} of the command line.

    `files`: the YAML files of the composition, latest first.
    """

    def __init__(self, typed: Mapping[str, str], files: Sequence[Path]) -> None:
        self.typed, self.files = typed, files

    def __call__(self, path: Sequence[str]) -> str:
        """Return "command line", "conf/optimizer/adam.yaml, line 3" or, if neither is known, "configuration"."""
        if self._is_typed(path):
            return "command line"
        file, node = self._node(path)
        return f"{shown(file)}, line {node.start_mark.line + 1}" if file and node else "configuration"

    def text(self, path: Sequence[str]) -> str | None:
        """Return the text of a single value as it was typed or stands in the YAML file without quotes, or None."""
        if self._is_typed(path):
            return self.typed.get(".".join(path))
        node = self._node(path)[1]
        own = isinstance(node, yaml.ScalarNode) and node.style is None and not self.is_swept(path)
        return str(node.value) if own else None

    def is_swept(self, path: Sequence[str]) -> bool:
        """Return whether the value is one of several under `sweep` in a YAML file."""
        file, node = self._node(path)
        return file is not None and node in _swept(_tree(file), ".".join(path))

    def file(self, path: Sequence[str]) -> Path | None:
        """Return the YAML file that the value stands in."""
        return None if self._is_typed(path) else self._node(path)[0]

    def chosen(self, group: str) -> str:
        """Return the file of the chosen option of a group, or where it was chosen."""
        return next((shown(file) for file in self.files if file.parent.name == group), self([group]))

    @property
    def chosen_names(self) -> dict[str, str]:
        """Return {group: the file of the option that was chosen}."""
        return {file.parent.name: file.stem for file in reversed(self.files)}

    def in_yaml(self, path: Sequence[str]) -> bool:
        """Return whether the value stands in a YAML file."""
        return not self._is_typed(path) and self._node(path)[1] is not None

    def _is_typed(self, path: Sequence[str]) -> bool:
        dotted = ".".join(path)
        # `optimizer=adam` names a file; the values in it were not typed.
        return any(
            f"{key}.".startswith(f"{dotted}.") or (key not in GROUPS and dotted.startswith(f"{key}."))
            for key in self.typed
        )

    def _node(self, path: Sequence[str]) -> tuple[Path | None, Any]:
        found = ((file, node) for file in self.files for node in [_value_in(file, tuple(path))] if node is not None)
        return next(found, (None, None))


def shown(file: Path) -> str:
    """Return the path of a YAML file as a person finds it: "conf/…" for those of this program."""
    if file.is_relative_to(CONF):
        return f"conf/{file.relative_to(CONF)}"
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)


def refuse_old_numbers(files: Sequence[Path]) -> None:
    """Raise ConfigError for a number that YAML 1.1 reads otherwise than it looks, such as 010 and 1:30."""
    for file in files:
        for line, text, value in _old_numbers(file):
            numbers = f"{value}" if ":" in text else f"{text.lstrip('0') or 0} or {value}"
            raise ConfigError(
                f'{shown(file)}, line {line}: YAML reads {text} as {value}. Write {numbers}, or "{text}" for a text'
            )


def refuse_misplaced(tree: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Raise ConfigError for a file whose settings stand below its group: it lacks the line `# @package _global_`."""
    for file in files:
        group, own = file.parent.name, _tree(file)
        if own is not None and not isinstance(own, yaml.MappingNode):
            raise ConfigError(f"{shown(file)}: must be lines of key: value")
        part = tree.get(group)
        below = isinstance(part, Mapping) and isinstance(part.get(group), Mapping) if group in GROUPS else bool(own)
        if below and not _is_global(file) and file.name != "config.yaml":
            raise ConfigError(f"{shown(file)}: its settings stand below {group}. Write as its first line: {GLOBAL}")


def refuse_hidden(files: Sequence[Path], folders: Sequence[Path]) -> None:
    """Raise ConfigError for a file of `--config-dir` that is not read because `conf/` has one of the same name."""
    for file, folder in ((file, folder) for file in files for folder in folders if file.is_relative_to(CONF)):
        other = folder / file.relative_to(CONF)
        if other.is_file() and _content(other) != _content(file):
            to = "settings of your own stand in experiment/NAME.yaml" if file.name == "config.yaml" else "rename it"
            raise ConfigError(f"{shown(other)}: is not read, {shown(file)} has its name; {to}")


def choice_line(group: str, name: str) -> str:
    """Return the line below `defaults` that chooses an option of a group."""
    return f"- override /{group}: {name}"


def choice_outside_defaults(file: Path) -> str:
    """Return what is wrong where a file chooses an option as `optimizer: sgd`, which only defaults can; or ""."""
    tree = _tree(file)
    for name, value in tree.value if isinstance(tree, yaml.MappingNode) else ():
        if name.value in GROUPS and not isinstance(value, yaml.MappingNode):
            items = value.value if isinstance(value, yaml.SequenceNode) else []
            text = f"[{', '.join(str(item.value) for item in items)}]" if items else value.value
            place = f"{shown(file)}, line {name.start_mark.line + 1}"
            return f"{place}: an option is chosen under defaults, by the line: {choice_line(name.value, text)}"
    return "" if tree is None or isinstance(tree, yaml.MappingNode) else f"{shown(file)}: must be lines of key: value"


def files_of(choices: Mapping[str, Any], folders: Sequence[Path]) -> tuple[Path, ...]:
    """Return the YAML files of a composition, latest first, each from the first folder that has it."""
    names = [
        f"{group}/{str(option).removesuffix('.yaml')}"
        for group, chosen in choices.items()
        for option in ([chosen] if isinstance(chosen, str) else chosen or [])
        if not group.startswith("hydra/")
    ]
    files = dict[Path, None]()
    for name in (*reversed(names), "config"):
        _add(name, folders, files)
    return tuple(files)


def _add(name: str, folders: Sequence[Path], files: dict[Path, None]) -> None:
    """Add the file of this name and those that its defaults name without a group, as conf/augmentation/lecture.yaml."""
    file = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)
    if file is None or file in files:
        return
    files[file] = None
    defaults = _below(_tree(file), ("defaults",)) if "defaults:" in _content(file) else None
    for entry in defaults.value if isinstance(defaults, yaml.SequenceNode) else ():
        if isinstance(entry, yaml.ScalarNode) and entry.value != "_self_":
            inner = entry.value.partition("@")[0]
            _add(inner[1:] if inner.startswith("/") else f"{name.rpartition('/')[0]}/{inner}", folders, files)


def has_needless_package(file: Path) -> bool:
    """Return whether the file of a technique sets values at the root, so that its options are no options of it."""
    return file.parent.name in GROUPS and _is_global(file)


def _is_global(file: Path) -> bool:
    """Return whether the first line that is not blank says that the settings stand at the root, as Hydra reads it."""
    return re.match(r"\s*#\s*@package\s+_global_\s", f"{_content(file)}\n") is not None


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _tree(file: Path) -> Any:
    return _parsed(_content(file))


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None


def _value_in(file: Path, path: tuple[str, ...]) -> Any:
    """Return the node of the value at `path`, set or swept in this file with or without its group in front, or None."""
    tree, group = _tree(file), file.parent.name
    if group in GROUPS and not _is_global(file):  # the file holds what stands below its group
        return _below(tree, path[1:]) if path[0] == group and path[1:] else None
    own = _below(tree, path)
    return own if own is not None else next(iter(_swept(tree, ".".join(path))), None)


def _swept(tree: Any, key: str) -> list[Any]:
    """Return the nodes of `sweep.params` and `sweep.arms` that give values to a setting."""
    arms = _below(tree, ("sweep", "arms"))
    items = arms.value if isinstance(arms, yaml.SequenceNode) else []
    items = [text for _, text in arms.value] if isinstance(arms, yaml.MappingNode) else items
    axis = _below(tree, ("sweep", "params", key))
    return [item for item in items if f" {key}=" in f" {item.value}"] + ([axis] if axis is not None else [])


def _below(node: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for name, value in pairs if name.value == key), None)
    return node


def _old_numbers(file: Path) -> list[tuple[int, str, Any]]:
    if not re.search(rf"(^|[\s:,\[-]){OLD_NUMBER.pattern}\s*([,\]}}#]|$)", _content(file), re.MULTILINE):
        return []  # most files, without the time to parse them
    return [
        (node.start_mark.line + 1, node.value, yaml.safe_load(node.value))
        for node in _scalars(_tree(file))
        if node.style is None and OLD_NUMBER.fullmatch(node.value)
    ]


def _scalars(node: Any) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        for each in part if isinstance(part, tuple) else (part,):
            yield from _scalars(each)
