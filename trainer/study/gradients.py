"""The gradients and passes through the network that a step takes, read from source text: nothing of it is run."""

import ast
from collections.abc import Iterator, Mapping, Sequence

from trainer.config.definitions import FOLLOWED, PACKAGE
from trainer.config.schema import GROUPS, Choice

KEYWORD = "penalty_runs_network"  # of the hooks of a regularization that computes the network once more
ATTRIBUTE = "gradients_per_step"  # of a class whose step(closure) calls its closure more than once


def gradients_of(optimizer: Choice) -> int:
    """Return the gradients in a step of a chosen optimizer."""
    return gradients_per_step(_texts(optimizer), optimizer.name)


def forwards_of(regularization: Sequence[Choice]) -> int:
    """Return the passes through the network for each gradient of a step, as the chosen regularizations take them."""
    return 1 + sum(_runs_network(choice) for choice in regularization)


def _runs_network(regularization: Choice) -> bool:
    for node in ast.walk(ast.parse("\n".join(_texts(regularization)[:1]))):
        if isinstance(node, ast.FunctionDef) and node.name == regularization.name:
            keywords = [part for part in ast.walk(node) if isinstance(part, ast.keyword) and part.arg == KEYWORD]
            return any(isinstance(each.value, ast.Constant) and each.value.value is True for each in keywords)
    return False


def _texts(choice: Choice) -> list[str]:
    """Return the text of the file that holds a technique's function, and of those that it imports from."""
    if choice.own is None:
        texts = [_text(GROUPS[choice.group].module)]
        for node in ast.parse(texts[0]).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(FOLLOWED):
                texts.append(_text(str(node.module)))
        return texts
    own = choice.own.groups.get(choice.group)  # none of a function that a notebook has given
    others = [module.text for module in choice.own.modules.values() if module is not own]
    return [*([own.text] if own else []), *others]


def _text(module: str) -> str:
    return PACKAGE.parent.joinpath(f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


def gradients_per_step(texts: Sequence[str], function: str) -> int:
    """Return the largest `gradients_per_step` of the classes that a function refers to, 1 if none has it.

    `texts`: the file of the function, and those that it imports from.
    """
    definitions: dict[str, ast.AST] = {}
    for text in reversed(texts):  # a name in the file of the function itself comes first
        nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        definitions |= {node.name: node for node in nodes}
    return max([1, *_numbers(function, definitions, set())])


def _numbers(name: str, definitions: Mapping[str, ast.AST], seen: set[str]) -> Iterator[int]:
    """Yield the numbers of the classes that a function or class refers to, and those that these refer to."""
    if name in seen or name not in definitions:
        return
    seen.add(name)
    node = definitions[name]
    own = _number(node)
    if own is not None:
        yield own
    # The bases of a class with a number of its own have others.
    for part in ast.walk(node) if own is None else ():
        if isinstance(part, ast.Name | ast.Attribute):
            yield from _numbers(part.id if isinstance(part, ast.Name) else part.attr, definitions, seen)


def _number(node: ast.AST) -> int | None:
    """Return the value of a class attribute of this name, None if there is none."""
    for statement in node.body if isinstance(node, ast.ClassDef) else ():
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value))
            ) if name == ATTRIBUTE and type(value) is int:
                return value
    return None
