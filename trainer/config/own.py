"""Techniques of one's own: the folders, files and packages of `--techniques`. They are read as text, never run here."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.record_folder import record_around
from trainer.errors import ConfigError
from trainer.runtime.files import expanded

FLAG = "--techniques"
PACKAGE_FORM = "pkg:"
MAX_LEVELS = 100  # of a syntax tree
KEY = "own"  # of a file in hashes and records, in place of the folder in which it happens to lie


@dataclass(frozen=True)
class OwnModule:
    """A Python file of one's own. `name`: dotted, as it is imported; `shown`: its path as a person finds it."""

    name: str
    path: Path
    shown: str
    text: str
    is_package: bool = False

    @property
    def key(self) -> str:
        """The name of the file in hashes and records, which is the same wherever its folder lies."""
        return f"{KEY}/{self.name.partition('.')[2].replace('.', '/') or '__init__'}.py"

    @property
    def package(self) -> str:
        """The dotted name of the package that a relative import of this file begins from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def tree(self) -> ast.Module:
        """Return the parsed file. Raises ConfigError with its line for a text that is no Python."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python gives them when the file is imported
                tree = ast.parse(self.text, self.shown)
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            raise ConfigError(f"{self.shown}{line}: {getattr(error, 'msg', error)}") from None
        except (RecursionError, MemoryError):  # what Python raises for brackets and signs
            tree = None
        if tree is None or _is_deep(tree):
            raise ConfigError(f"{self.shown}: an expression is nested more than {MAX_LEVELS} deep")
        return tree


@dataclass(frozen=True)
class OwnTechniques:
    """One value of `--techniques`, with all files that its modules import from its own folder.

    `typed`: the value; `modules`: by dotted name; `groups`: config group → the module of its functions; `conf`: the
    folder of its YAML files. An installed package is imported by its own name, a folder by one that holds the hash of
    its files: another version of them in the same process is another module. Functions that were given to the Python
    API have no value that could be typed: `typed` is "".
    """

    typed: str
    package: str
    installed: bool
    modules: Mapping[str, OwnModule]
    groups: Mapping[str, OwnModule]
    conf: Path | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """The content, as a key of caches."""
        return (self.package, str(self.conf), tuple(self.modules.values()))

    @property
    def word(self) -> str:
        """The value as another process reads it, whatever its working folder."""
        return self.typed if self.installed else str(expanded(self.typed).absolute())


_active: ContextVar[tuple[OwnTechniques, ...]] = ContextVar("own techniques", default=())


def active() -> tuple[OwnTechniques, ...]:
    """Return the own techniques of this command."""
    return _active.get()


@contextlib.contextmanager
def using(several: Sequence[OwnTechniques]) -> Iterator[None]:
    """Make techniques known in the block, in this thread and in those that copy its context."""
    token = _active.set(tuple(several))
    try:
        yield
    finally:
        _active.reset(token)


def per_own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Cache the results of a function of plain values that depends on the own techniques."""
    kept = functools.cache(lambda _own, *values: function(*values))
    return functools.wraps(function)(lambda *values: kept(tuple(each.key for each in active()), *values))


def flags() -> list[str]:
    """Return the words of a command line that bring the own techniques of this one."""
    return [f"{FLAG}={each.typed}" for each in active() if each.typed]


def taken(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (the other arguments, the values of `--techniques`). Raises ConfigError for one without a value."""
    others, typed, rest = list[str](), list[str](), iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag != FLAG:
            others.append(argument)
        elif equals:
            typed.append(value)
        elif (following := next(rest, None)) is not None:
            typed.append(following)
        else:
            raise ConfigError(f"{FLAG} (command line): needs a folder, a file such as optimizer.py, or pkg:NAME")
    return others, list(dict.fromkeys(typed))


def module_of(name: str) -> OwnModule | None:
    """Return the file of a dotted name among the own techniques, or None."""
    return next((each.modules[name] for each in active() if name in each.modules), None)


def read(typed: str, groups: Sequence[str]) -> OwnTechniques:
    """Return the techniques of a folder, of a file that has the name of a group, or of an installed package.

    Raises ConfigError if there are none, or if they lie in the folder of a run or study, which may come from anyone.
    """
    if typed.startswith(PACKAGE_FORM):
        name = typed.removeprefix(PACKAGE_FORM)
        root, named = _package_folder(name), tuple(groups)
        refuse_record(typed, root)
    else:
        place = expanded(typed).absolute()
        if not typed or not place.exists():
            raise ConfigError(f"{FLAG} {typed} (command line): there is no such folder or file")
        root, name = (place if place.is_dir() else place.parent), ""
        named = tuple(groups) if place.is_dir() else (place.stem,)
        refuse_record(typed, place)
        if not place.is_dir() and (place.suffix != ".py" or place.stem not in groups):
            raise ConfigError(f"{FLAG} {typed}: a file must have the name of a group: {_files(groups)}")
    found = [group for group in named if (root / f"{group}.py").is_file()]
    conf = next((root / part for part in ("conf",) if (root / part).is_dir()), None)
    if not found and conf is None:
        raise ConfigError(f"{FLAG} {typed}: holds no file of a group: {_files(groups)}")
    modules = _closure(name or "own", root, found, is_folder=not name)
    package = name or f"_own_{_digest(root, modules)}"
    if not name:
        modules = {
            renamed: OwnModule(renamed, each.path, each.shown, each.text, each.is_package)
            for each in modules.values()
            for renamed in [package + each.name.removeprefix("own")]
        }
    own = {group: modules[f"{package}.{group}"] for group in found}
    return OwnTechniques(typed, package, bool(name), modules, own, conf)


def _files(groups: Sequence[str]) -> str:
    return ", ".join(f"{group}.py" for group in groups)


def refuse_record(typed: str, place: Path) -> None:
    """Raise ConfigError for a path inside a run or study: a folder that was sent must not bring code that is run."""
    if found := record_around(place):
        raise ConfigError(
            f"{FLAG} {typed}: lies in the record of a {found[0]}, {found[1]}, from which no code is run. Read the"
            " files, and copy them to another folder to use them"
        )


def _package_folder(name: str) -> Path:
    """Return the folder of an installed package, which is not imported for it. Raises ConfigError."""
    from importlib.machinery import PathFinder

    place, path = None, None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, path) if part.isidentifier() else None
        path = list(spec.submodule_search_locations or []) if spec else []
        place = next((Path(each) for each in path), None)
        if place is None:
            raise ConfigError(f"{FLAG} {PACKAGE_FORM}{name} (command line): there is no installed package {name}")
    assert place is not None
    return place


def _closure(package: str, root: Path, groups: Sequence[str], is_folder: bool) -> dict[str, OwnModule]:
    """Return the modules of the groups and those that they import from the same package, by dotted name."""
    modules, waiting = dict[str, OwnModule](), [f"{package}.{group}" for group in groups]
    while waiting:
        name = waiting.pop()
        if name in modules or (file := _file_of(name, package, root)) is None:
            continue
        modules[name] = module = OwnModule(name, file, _shown(file), _text(file), file.name == "__init__.py")
        # A package runs the __init__.py of each folder above a file; a folder of techniques has none of its own.
        above = name.rpartition(".")[0]
        waiting += [above] if above.startswith(package if not is_folder else f"{package}.") else []
        for imported in _imported(module):
            _refuse_sibling(imported, module, root, is_folder)
            waiting += [each for each in imported.names if f"{each}.".startswith(f"{package}.")]
    return modules


def _file_of(name: str, package: str, root: Path) -> Path | None:
    below = root.joinpath(*name.removeprefix(package).split("."))
    files = [below / "__init__.py"] if below == root else [below.with_suffix(".py"), below / "__init__.py"]
    return next((file for file in files if file.is_file()), None)


@dataclass(frozen=True)
class Imported:
    """An import statement: the dotted names that it may load, its line, and whether it is a relative one."""

    names: tuple[str, ...]
    line: int
    relative: bool


def _imported(module: OwnModule) -> Iterator[Imported]:
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.Import):
            yield Imported(tuple(alias.name for alias in node.names), node.lineno, False)
        elif isinstance(node, ast.ImportFrom):
            base = absolute_name(node, module.package)
            yield Imported((base, *(f"{base}.{alias.name}" for alias in node.names)), node.lineno, node.level > 0)


def absolute_name(node: ast.ImportFrom, package: str) -> str:
    """Return the dotted name that `from … import` names, in a file of this package."""
    above = package.split(".")
    start = above[: len(above) - (node.level - 1)] if node.level else []
    return ".".join([*start, *([node.module] if node.module else [])])


def _refuse_sibling(imported: Imported, module: OwnModule, root: Path, is_folder: bool) -> None:
    """Raise ConfigError for `import helpers`, which would find another module of this name or none."""
    first = imported.names[0].partition(".")[0]
    if first in sys.stdlib_module_names:
        return
    if is_folder and not imported.relative and ((root / f"{first}.py").is_file() or (root / first).is_dir()):
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(first)
        if spec is None or root in Path(spec.origin or root).parents:
            raise ConfigError(
                f"{module.shown}, line {imported.line}: a file of the same folder is imported with a dot: from ."
                f" import {first}, or from .{first} import …"
            )


def _is_deep(tree: ast.AST) -> bool:
    """Return whether a tree has too many levels for functions that call themselves for each."""
    level = [tree]
    for _ in range(MAX_LEVELS):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return bool(level)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(f"{_shown(file)}: must be a text in UTF-8 that can be read ({reason})") from None


def _shown(file: Path) -> str:
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)


def _digest(root: Path, modules: Mapping[str, OwnModule]) -> str:
    content = hashlib.sha256(str(root.resolve()).encode())
    for name, module in sorted(modules.items()):
        content.update(f"\0{name}\0{module.text}".encode())
    return content.hexdigest()[:12]
