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
    functions = _functions(GROUPS[group].module)
    return {name: parameters for name, parameters in functions.items() if not name.startswith("_")}


def shared_parameters(group: str) -> dict[str, tuple[Any, Any]]:
    """Return the keyword-only parameters that every technique of the group accepts."""
    path = GROUPS[group].shared
    if path is None:
        return {}
    module, _, name = path.rpartition(".")
    return _functions(module)[name]


@cache
def _functions(module: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    source = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(source.read_text(encoding="utf-8"), str(source))
    return {
        node.name: {
            argument.arg: (_kind(argument.annotation), REQUIRED if value is None else ast.literal_eval(value))
            for argument, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        }
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


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
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=items)):
            if isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis:
                return tuple[_kind(items[0]), ...]  # type: ignore[misc]
            return tuple[tuple(_kind(item) for item in items)]  # type: ignore[misc]
    raise TypeError(f"{ast.unparse(annotation) if annotation else 'no annotation'}: not a kind of option")
