"""The signature of each technique as the schema of its YAML, read from the source text. Imports no torch."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from trainer.config.types import BY_NAME
from trainer.errors import ConfigError
from trainer.runtime.files import expanded

PACKAGE = Path(__file__).resolve().parent.parent
# conf/ lies inside the package in a wheel and beside it in a checkout.
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if (path / "config.yaml").is_file())
REQUIRED = object()


def own_folder(text: str) -> Path:
    """Return the folder of `--config-dir`. Raises ConfigError if there is none."""
    folder = expanded(text).absolute()
    if not (text and folder.is_dir()):
        raise ConfigError(f"--config-dir {text} (command line): there is no such folder")
    return folder


@dataclass(frozen=True)
class Group:
    """A config group: the module whose public functions are its techniques, and the options that these share."""

    module: str
    shared: str | None = None  # a function whose keyword-only parameters every option of the group accepts
    listed: bool = False  # several at once: {name: options, …} in the order of the list


GROUPS = {
    "dataset": Group("trainer.data.sources", shared="trainer.data.splits.split"),
    "model": Group("trainer.techniques.model"),
    "activation": Group("trainer.techniques.activation"),
    "normalization": Group("trainer.techniques.normalization"),
    "init": Group("trainer.techniques.init"),
    "optimizer": Group("trainer.techniques.optimizer"),
    "scheduler": Group("trainer.techniques.scheduler", shared="trainer.training.lr_schedule.warm_up"),
    "regularization": Group("trainer.techniques.regularization", listed=True),
    "augmentation": Group("trainer.techniques.augmentation", listed=True),
    "loss": Group("trainer.techniques.loss"),
    "metric": Group("trainer.techniques.metric", listed=True),
}


@dataclass(frozen=True)
class Choice:
    """One chosen technique with its checked options; `shared` are those of its whole group."""

    group: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)

    def function(self) -> Callable[..., Any]:
        """Return the technique's function with its options bound. The name was checked against the signatures."""
        return partial(_load(f"{GROUPS[self.group].module}.{self.name}"), **self.options)

    def shared_function(self) -> Callable[..., Any]:
        """Return the group's shared function with its options bound."""
        path = GROUPS[self.group].shared
        assert path is not None, self.group
        return partial(_load(path), **self.shared)


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def techniques(group: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return {technique: {keyword-only parameter: (type, default or REQUIRED)}}."""
    return _functions(GROUPS[group].module)


def shared_parameters(group: str) -> dict[str, tuple[Any, Any]]:
    """Return the keyword-only parameters that every technique of the group accepts."""
    path = GROUPS[group].shared
    if path is None:
        return {}
    module, _, name = path.rpartition(".")
    return _functions(module)[name]


def module_file(group: str) -> str:
    """Return the path of the module that holds the functions of a group, as in "trainer/techniques/optimizer.py"."""
    return f"{GROUPS[group].module.replace('.', '/')}.py"


@cache
def _functions(module: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    file = f"{module.replace('.', '/')}.py"
    try:
        tree = ast.parse(PACKAGE.parent.joinpath(file).read_text(encoding="utf-8"), file)
    except SyntaxError as error:
        raise ConfigError(f"{file}, line {error.lineno}: {error.msg}") from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    # The helpers of a module, whose names begin with "_", may have any parameters.
    return {node.name: _parameters(node, file) for node in functions if not node.name.startswith("_")}


def _parameters(function: ast.FunctionDef, file: str) -> dict[str, tuple[Any, Any]]:
    """Return {keyword-only parameter: (type, default or REQUIRED)}. Raises ConfigError with file and line."""
    found = {}
    for argument, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        what = f"{file}, line {argument.lineno}: {argument.arg} of {function.name}"
        try:
            kind = _kind(argument.annotation)
        except TypeError as error:
            names = ", ".join(sorted(BY_NAME))
            raise ConfigError(
                f"{what}: {error} is not a type of an option. Accepted: {names}, Literal[…], tuple[…], … | None"
            ) from None
        try:
            default = REQUIRED if value is None else ast.literal_eval(value)
        except ValueError:
            raise ConfigError(
                f"{what}: its default must be a plain value, not {ast.unparse(value or function)}"
            ) from None
        found[argument.arg] = (kind, default)
    return found


def _kind(annotation: ast.expr | None) -> Any:
    """Return the type of an annotation: a name of BY_NAME, a union, a tuple or a Literal. Raises TypeError."""
    match annotation:
        case ast.Name(id=name) if name in BY_NAME:
            return BY_NAME[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _kind(left) | _kind(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            accepted = ast.literal_eval(values)
            return Literal[accepted]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=last)])) if (
            last is Ellipsis
        ):
            return tuple[_kind(item), ...]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[_, *_] as items)):
            return tuple[tuple(_kind(item) for item in items)]  # type: ignore[misc]
    raise TypeError(ast.unparse(annotation) if annotation else "no annotation")
