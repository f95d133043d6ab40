"""The signature of each technique as the schema of its YAML, read from the source text. Imports no torch."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from trainer.config.definitions import PACKAGE
from trainer.config.own import OwnModule, OwnTechniques, active
from trainer.config.types import BY_NAME, describe
from trainer.errors import ConfigError
from trainer.runtime.files import expanded

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
    """A config group: the module whose public functions are its techniques, and the options that these share.

    `takes`: the positional parameters of each function, which the trainer gives.
    """

    module: str
    takes: tuple[str, ...]
    shared: str | None = None  # a function whose keyword-only parameters every option of the group accepts
    listed: bool = False  # several at once: {name: options, …} in the order of the list


GROUPS = {
    "dataset": Group("trainer.data.sources", ("data_dir", "part"), shared="trainer.data.splits.split"),
    "preprocessing": Group("trainer.techniques.preprocessing", ("shape",)),
    "model": Group("trainer.techniques.model", ("shape", "classes", "slots")),
    "activation": Group("trainer.techniques.activation", ()),
    "normalization": Group("trainer.techniques.normalization", ("shape",)),
    "init": Group("trainer.techniques.init", ("layer", "gain")),
    "optimizer": Group("trainer.techniques.optimizer", ("params", "lr", "weight_decay")),
    "scheduler": Group("trainer.techniques.scheduler", ("lr", "epochs"), shared="trainer.training.lr_schedule.warm_up"),
    "regularization": Group("trainer.techniques.regularization", ("model",), listed=True),
    "augmentation": Group("trainer.techniques.augmentation", ("images", "labels", "classes", "generator"), listed=True),
    "loss": Group("trainer.techniques.loss", ("logits", "labels")),
    "metric": Group("trainer.techniques.metric", ("logits", "labels"), listed=True),
}


@dataclass(frozen=True)
class Choice:
    """One chosen technique with its checked options; `shared`: those of its group; `own`: the place of an own one."""

    group: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    own: OwnTechniques | None = field(default=None, compare=False, repr=False)

    def function(self) -> Callable[..., Any]:
        """Return the technique's function with its options bound. The name was checked against the signatures.

        The file of an own technique is imported here. Raises ConfigError if that fails, or if the technique of a
        recorded run is an own one that this command was not given.
        """
        if self.own:
            from trainer.config.own_call import guarded
            from trainer.config.own_import import load

            return partial(guarded(self.own, self.group, load(self.own, self.group, self.name)), **self.options)
        if self.name not in parameters_of(GROUPS[self.group].module):
            raise ConfigError(f"{self.group}={self.name} is no technique of this program: add --techniques")
        return partial(_load(f"{GROUPS[self.group].module}.{self.name}"), **self.options)

    @property
    def changes_network(self) -> bool:
        """True for a regularization that changes the network and not its steps: one annotated with -> None."""
        if self.group != "regularization":
            return False
        tree = self.own.groups[self.group].tree() if self.own else _tree(GROUPS[self.group].module)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == self.name]
        return [ast.unparse(node.returns).strip("\"'") for node in functions if node.returns] == ["None"]

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
    """Return {technique: {keyword-only parameter: (type, default or REQUIRED)}}, own ones as well."""
    built_in = parameters_of(GROUPS[group].module)
    own = {name: found.parameters for name, (_, found) in own_functions(group).items()}
    return {**built_in, **own} if own else built_in


@dataclass(frozen=True)
class OwnFunction:
    """An own technique as its file defines it. `place`: "mine/optimizer.py, line 5"; `purpose`: its docstring."""

    name: str
    place: str
    purpose: str
    parameters: dict[str, tuple[Any, Any]]


def own_functions(group: str) -> dict[str, tuple[OwnTechniques, OwnFunction]]:
    """Return {name: (where it comes from, the function)} of the own techniques of a group.

    Raises ConfigError for a name that is taken, a signature that the trainer cannot call, and an option without a type.
    """
    found = dict[str, tuple[OwnTechniques, OwnFunction]]()
    for own in active():
        if group not in own.groups:
            continue
        for function in _own_functions(own.groups[group], group):
            if (
                function.name in parameters_of(GROUPS[group].module)
                or (CONF / group / f"{function.name}.yaml").is_file()
            ):
                raise ConfigError(f"{function.place}: {group}={function.name} is one of the project's: rename yours")
            if function.name in found:
                raise ConfigError(
                    f"{function.place}: {group}={function.name} is in {found[function.name][1].place}, too: rename one"
                )
            found[function.name] = (own, function)
    return found


def own_of(group: str, name: str) -> OwnTechniques | None:
    """Return where an own technique comes from; None for one of this program, and for an unknown one."""
    return own_functions(group)[name][0] if active() and name in own_functions(group) else None


def source_module(group: str, name: str) -> str:
    """Return the dotted name of the module that defines a technique."""
    own = own_of(group, name)
    return own.groups[group].name if own else GROUPS[group].module


def definition(group: str, name: str) -> ast.FunctionDef:
    """Return the syntax tree of a technique's function, of this program or an own one."""
    own = own_of(group, name)
    body = (own.groups[group].tree() if own else _tree(GROUPS[group].module)).body
    return next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == name)


@lru_cache(maxsize=64)
def _own_functions(module: OwnModule, group: str) -> tuple[OwnFunction, ...]:
    nodes = [node for node in module.tree().body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = []
    for node in nodes:
        if node.name.startswith("_"):
            continue
        place = f"{module.shown}, line {node.lineno}"
        _refuse_signature(node, GROUPS[group].takes, f"{place}: {node.name}")
        purpose = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
        found.append(OwnFunction(node.name, place, purpose, parameters := _parameters(node, module.shown)))
        _refuse_options(group, parameters, f"{place}: {node.name}")
    return tuple(found)


def _refuse_options(group: str, parameters: Mapping[str, tuple[Any, Any]], what: str) -> None:
    """Raise ConfigError for an option whose name the group uses itself, or whose default it would refuse itself."""
    from pydantic import TypeAdapter, ValidationError  # not at the top: `--help` need not wait for it

    for name, (kind, default) in parameters.items():
        if name in shared_parameters(group) or (name == "name" and not GROUPS[group].listed):
            raise ConfigError(f"{what}: {name} is a setting that every {group} has: call yours otherwise")
        try:
            TypeAdapter(kind).validate_python(default) if default is not REQUIRED else None
        except ValidationError:
            raise ConfigError(f"{what}: {name}={default!r} by default, which must be {describe(kind)}") from None


def _refuse_signature(node: ast.FunctionDef | ast.AsyncFunctionDef, takes: tuple[str, ...], what: str) -> None:
    """Raise ConfigError for a function that cannot be called with the values that the trainer gives it."""
    positional, given = [*node.args.posonlyargs, *node.args.args], len(takes)
    needed = len(positional) - len(node.args.defaults)
    fits = needed <= given and (given <= len(positional) or node.args.vararg is not None)
    if not fits or node.args.defaults or isinstance(node, ast.AsyncFunctionDef):
        form = ", ".join([*takes, "*", "…"])
        raise ConfigError(
            f"{what} must be a function of ({form}): the trainer gives {', '.join(takes) or 'nothing'}, and options"
            " stand behind the star. The name of a function that is no technique begins with _"
        )


def shared_parameters(group: str) -> dict[str, tuple[Any, Any]]:
    """Return the keyword-only parameters that every technique of the group accepts."""
    path = GROUPS[group].shared
    if path is None:
        return {}
    module, _, name = path.rpartition(".")
    return parameters_of(module)[name]


def module_file(group: str) -> str:
    """Return the paths of the files that hold the functions of a group, as in "trainer/techniques/optimizer.py"."""
    own = [each.groups[group].shown for each in active() if group in each.groups]
    return " and ".join([f"{GROUPS[group].module.replace('.', '/')}.py", *own])


@cache
def _tree(module: str) -> ast.Module:
    file = f"{module.replace('.', '/')}.py"
    try:
        return ast.parse(PACKAGE.parent.joinpath(file).read_text(encoding="utf-8"), file)
    except SyntaxError as error:
        raise ConfigError(f"{file}, line {error.lineno}: {error.msg}") from None


@cache
def parameters_of(module: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return {public function: {keyword-only parameter: (type, default or REQUIRED)}} of a module of this program."""
    file = f"{module.replace('.', '/')}.py"
    functions = [node for node in _tree(module).body if isinstance(node, ast.FunctionDef)]
    # The helpers of a module, whose names begin with "_", may have any parameters.
    return {node.name: _parameters(node, file) for node in functions if not node.name.startswith("_")}


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, file: str) -> dict[str, tuple[Any, Any]]:
    """Return {keyword-only parameter: (type, default or REQUIRED)}. Raises ConfigError with file and line."""
    found = {}
    for argument, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        what = f"{file}, line {argument.lineno}: {argument.arg} of {function.name}"
        try:
            kind = _kind(argument.annotation)
        except (TypeError, ValueError) as error:
            names = ", ".join(sorted(BY_NAME.keys() - {"Members", "Repeats"}))
            wrong = f"{error} is not a type of an option" if argument.annotation else "an option needs a type"
            raise ConfigError(f"{what}: {wrong}. Accepted: {names}, Literal[…], tuple[…], … | None") from None
        try:
            default = REQUIRED if value is None else ast.literal_eval(value)
        except (ValueError, TypeError):
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
            members = accepted if isinstance(accepted, tuple) else (accepted,)
            if members and all(isinstance(each, str | int | float | None) for each in members):
                return Literal[accepted]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=last)])) if (
            last is Ellipsis
        ):
            return tuple[_kind(item), ...]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[_, *_] as items)):
            return tuple[tuple(_kind(item) for item in items)]  # type: ignore[misc]
    raise TypeError(ast.unparse(annotation) if annotation else "no annotation")
