"""Functions of the running Python as own techniques: the text of their definitions, as if it lay in a folder.

A function is taken together with what it uses of its module: other functions and classes as text, plain values as they
are now, everything else by the import that brings it. The text is checked, hashed, kept and imported as a file would
be, so that a later change of the module, or of a variable of a notebook, changes no run that is under way. Imports no
torch.
"""

from __future__ import annotations
import __future__

import ast
import hashlib
import inspect
import linecache
import symtable
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from trainer.config.own import OwnModule, OwnTechniques, absolute_name
from trainer.errors import ConfigError

Functions = Callable[..., Any] | Sequence[Callable[..., Any]]

CELLS = "cells"  # the module of what the techniques use of the notebook
ANNOTATIONS = __future__.annotations.compiler_flag
ACCEPTED = "functions, classes, modules, imported names, and numbers, texts, tuples, lists and dictionaries of these"


def given(functions: Mapping[str, Functions], groups: Sequence[str]) -> OwnTechniques:
    """Return the techniques for {group: function or functions}.

    Raises ConfigError for what is no function of a group, or uses something that cannot be written down as text.
    """
    cells, files = _Text(), dict[str, _Text]()
    for group, value in functions.items():
        if group not in groups:
            raise ConfigError(f"techniques={{{group!r}: …}}: there is no such group. Accepted: {', '.join(groups)}")
        file = files[group] = _Text()
        for function in value if isinstance(value, Sequence) else [value]:
            _refuse_other(group, function)
            _add(function.__name__, function, file, cells)
    texts = {name: text.joined() for name, text in {**files, CELLS: cells}.items() if text.definitions}
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:12]
    package = f"_own_{digest}"
    modules = {
        f"{package}.{name}": OwnModule(f"{package}.{name}", Path(f"python:{name}.py"), f"python:{name}.py", text)
        for name, text in texts.items()
    }
    own = {group: modules[f"{package}.{group}"] for group in files}
    return OwnTechniques("", package, False, modules, own)


@dataclass
class _Text:
    """A module to be: the statements that import, and the definitions in an order in which they can be run."""

    imports: dict[str, None] = field(default_factory=dict)
    objects: dict[str, object] = field(default_factory=dict)
    definitions: list[str] = field(default_factory=list)
    annotations: bool = False  # whether these are texts (PEP 563) where the definitions stand

    def joined(self) -> str:
        """Return the text of the module."""
        first = ["from __future__ import annotations"] if self.annotations else []
        head = "\n".join([*first, *sorted(self.imports)])
        return "\n\n\n".join(part.strip("\n") for part in (head, *self.definitions) if part) + "\n"


def _refuse_other(group: str, function: object) -> None:
    what = f"techniques={{{group!r}: {getattr(function, '__name__', function)}}}"
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise ConfigError(f"{what}: must be a function that is defined with def, or a list of such")
    if function.__name__.startswith("_"):
        raise ConfigError(f"{what}: the name of a technique does not begin with _")


def _add(name: str, value: Any, text: _Text, cells: _Text) -> None:
    """Add a function or class to a module, what it uses of its own module to `cells`, and the imports to both."""
    if name in text.objects:
        if text.objects[name] is not value:
            raise ConfigError(f"techniques: {name} is the name of two definitions that are used: rename one")
        return
    text.objects[name] = value
    source, future = _source(value)
    # A decorator may return a function of another module.
    space = vars(sys.modules[value.__module__]) if isinstance(value, type) else inspect.unwrap(value).__globals__
    for used in _global_names(source):
        if used in space and not used.startswith("__"):  # each module has its own __name__ and __file__
            _provide(used, space[used], space, name, text, cells)
    text.annotations |= future
    text.definitions.append(source)


def _provide(name: str, value: Any, space: Mapping[str, Any], user: str, text: _Text, cells: _Text) -> None:
    """Make a global name of a definition (`user`) known in its new module."""
    if text.objects.get(name) is value:
        return
    if isinstance(value, ModuleType):
        if _is_own(value.__name__):
            raise ConfigError(
                f"techniques: {user} uses the module {value.__name__}, which is no installed package: import its"
                f" functions by name (from {value.__name__} import …), or give the folder by its path"
            )
        text.imports[f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")] = None
    elif (isinstance(value, type) or isinstance(inspect.unwrap(value), FunctionType)) and _is_own(value.__module__):
        _add(value.__name__, value, cells, cells)
        if text is not cells:
            text.imports[f"from .{CELLS} import {_aliased(value.__name__, name)}"] = None
        elif name != value.__name__:
            _define(name, value, value.__name__, cells)
    elif statement := _importable(name, value) or _import_statement(name, value, space):
        text.imports[statement] = None
    elif _is_plain(value):
        _define(name, value, repr(value), cells)
        if text is not cells:
            text.imports[f"from .{CELLS} import {name}"] = None
    else:
        raise ConfigError(
            f"techniques: {user} uses {name}, a value of type {type(value).__name__}, which cannot be written down as"
            f" text: make it within the function. Accepted: {ACCEPTED}"
        )


def _define(name: str, value: object, text: str, cells: _Text) -> None:
    """Add `name = text` to the cells. Raises ConfigError if another value has the name."""
    if name in cells.objects:
        if cells.objects[name] is not value and cells.objects[name] != value:
            raise ConfigError(f"techniques: {name} is the name of two values that are used: rename one")
        return
    cells.objects[name] = value
    cells.definitions.append(f"{name} = {text}")


def _aliased(name: str, alias: str) -> str:
    return name if name == alias else f"{name} as {alias}"


def _is_own(module: str | None) -> bool:
    """Return whether a module is a file of the user's: the program that runs, a notebook, a file beside it."""
    if module is None or module.partition(".")[0] == "trainer":
        return False
    if module == "__main__":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module.partition(".")[0] in sys.stdlib_module_names:
        return False
    installed = [Path(path) for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))]
    if any(folder in Path(file).parents for folder in installed):
        return False
    try:
        distribution(module.partition(".")[0])  # one that is installed from its checkout
        return False
    except PackageNotFoundError:
        return True


def _importable(name: str, value: Any) -> str:
    """Return the statement that imports an object by the names that it carries, "" if that leads elsewhere."""
    module, own = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(own, str) or module == "builtins" or module not in sys.modules:
        return ""
    found = getattr(sys.modules[module], own, None)
    return f"from {module} import {_aliased(own, name)}" if found is value and not _is_own(module) else ""


def _import_statement(name: str, value: Any, space: Mapping[str, Any]) -> str:
    """Return the import of a file or a notebook that brought this value by this name, "" if there is none."""
    package = space.get("__package__") or ""
    for tree in _trees(space):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            module = absolute_name(node, package)
            for alias in node.names:
                found = getattr(sys.modules.get(module), alias.name, None)
                if (alias.asname or alias.name) == name and found is value and not _is_own(module):
                    return f"from {module} import {_aliased(alias.name, name)}"
    return ""


def _trees(space: Mapping[str, Any]) -> Iterator[ast.Module]:
    """Yield the parsed texts of a module: its file, or the cells of a notebook from the last one on."""
    file, cells = space.get("__file__"), space.get("In")
    texts = ["".join(linecache.getlines(file))] if isinstance(file, str) else []
    texts += [str(cell) for cell in reversed(cells)] if isinstance(cells, list) else []
    for text in texts:
        try:
            yield ast.parse(text)
        except (SyntaxError, ValueError):  # a cell in another language
            continue


def _is_plain(value: Any) -> bool:
    """Return whether the text of a value stands for an equal one."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except Exception:  # an object may refuse to be compared in any way
        return False


def _global_names(source: str) -> list[str]:
    """Return the names that a definition looks up in its module, sorted."""
    names, tables = set[str](), [symtable.symtable(source, "definition", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        at_top = table.get_type() == "module"
        names |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (at_top or symbol.is_global())
        }
    return sorted(names)


def _source(value: Any) -> tuple[str, bool]:
    """Return the text of a function or class at the top of a file or cell, and whether annotations are texts there.

    Raises ConfigError where there is no text, as of one that was typed at a prompt, or for one within a function.
    """
    if "<locals>" in value.__qualname__:
        raise ConfigError(
            f"techniques: {value.__name__} is defined within a function, from which it may hold values: define it at"
            " the top of a file or of a cell"
        )
    for code in _codes(value):
        lines = linecache.getlines(code.co_filename)
        if found := _definition(lines, value, code.co_firstlineno):
            return found, bool(code.co_flags & ANNOTATIONS)
    if isinstance(value, type):  # without a method
        for lines in _cells():
            if found := _definition(lines, value, None):
                return found, False
    raise ConfigError(
        f"techniques: the text of {value.__name__} cannot be found: define it in a file or in a cell of a notebook"
    )


def _codes(value: Any) -> Iterator[Any]:
    """Yield the code of a function, or of the methods of a class."""
    parts = vars(value).values() if isinstance(value, type) else [value]
    for part in parts:
        function = inspect.unwrap(getattr(part, "__func__", getattr(part, "fget", part)) or part)
        if isinstance(function, FunctionType):
            yield function.__code__


def _cells() -> Iterator[list[str]]:
    """Yield the lines of the texts that Python has in memory, the latest first: those of cells are among them."""
    for entry in reversed([*linecache.cache.values()]):
        if len(entry) == 4:  # a text that is there, and not one that could be loaded
            yield entry[2]


def _definition(lines: Sequence[str], value: Any, line: int | None) -> str:
    """Return the text of the definition that has the name of `value`, and holds a line if that is given, or ""."""
    kind = ast.ClassDef if isinstance(value, type) else ast.FunctionDef
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return ""
    for node in reversed([*ast.walk(tree)]):
        if not isinstance(node, kind) or node.name != value.__name__:
            continue
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        last = node.end_lineno or first
        if line is None or first <= line <= last:
            return textwrap.dedent("".join(lines[first - 1 : last]))
    return ""
