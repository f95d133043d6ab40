"""The definitions that a technique reaches: its function, and all that this uses in its file and in those it imports.

They are read from the syntax tree; nothing is imported. They decide the identity of a run: another technique beside
this one in the same file changes nothing, another helper that it calls does.
"""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.config.own import OwnModule, absolute_name, module_of

PACKAGE = Path(__file__).resolve().parent.parent
FOLLOWED = "trainer.techniques"  # the modules of this program whose definitions are told apart
ALL = "*"
MADE = "__getattr__"  # of a module: it makes names that have no definition
TOLD = frozenset({"print", "warn", "debug", "info", "warning"})  # functions whose texts are wording
# A function that looks names up by text may reach any definition of its file.
BY_TEXT = frozenset({"globals", "vars", "locals", "eval", "exec", "import_module", "__import__"})


@dataclass(frozen=True)
class Definitions:
    """The top level of a file: definitions by name, imports by local name, and the statements that are neither."""

    key: str
    named: Mapping[str, list[ast.stmt]]
    imports: Mapping[str, tuple[str, str | None]]  # local name → module, name in it or None for the module itself
    loose: list[ast.stmt]
    called: list[tuple[str, str]]  # a function or class, and a decorator or base that its definition calls
    all_imports: list[tuple[str, str | None]]  # also those whose local name a later one takes

    def brought(self, name: str) -> list[tuple[str, str | None]]:
        """Return what a local name stands for: `import a.b` and `import a.c` both bring modules below `a`."""
        found = self.imports[name]
        if found[1] is not None or "." not in found[0]:
            return [found]
        return [each for each in self.all_imports if each[1] is None and f"{each[0]}.".startswith(f"{name}.")] or [
            found
        ]


@dataclass
class Reach:
    """The definitions reached so far, by dotted name of the module; `outside`: other packages that are imported."""

    found: dict[str, dict[str, None]] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    listeners: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, module: str, name: str = ALL) -> bool:
        """Add a definition and all that it uses. Return False if the module is not one of those that are followed."""
        if (text := _definitions(module)) is None:
            return False
        self._run(module, text)
        names = self.found[module]
        if name in names:
            return True
        if name == ALL:
            names[ALL] = None
            for each in (*text.named, *(text.imports if module_of(module) else ())):
                self.add(module, each)
        elif name in text.named:
            names[name] = None
            self._use(text, text.named[name], module)
        elif name in text.imports:  # passed on, as by an __init__.py
            names[name] = None
            self._import(*text.imports[name])
        elif MADE in text.named:
            self.add(module, MADE)
        return True

    def _run(self, module: str, text: Definitions) -> None:
        """Add what the import of a module runs: its loose statements, and those of the own modules that it imports."""
        if module in self.found:
            return
        self.found[module] = {}
        self._use(text, text.loose, module)
        self.listeners += [(module, *each) for each in text.called] if module_of(module) else []
        above = [(module.rpartition(".")[0], None)]
        for target, name in [*text.all_imports, *above] if module_of(module) else []:
            for each in (target, f"{target}.{name}"):
                if own := module_of(each):
                    self._run(each, _of_own(own))

    def _use(self, text: Definitions, nodes: Iterable[ast.stmt], module: str) -> None:
        own = module_of(module)
        package = own.package if own else module.rpartition(".")[0]
        for node in (each for statement in nodes for each in ast.walk(statement)):
            if isinstance(node, ast.Name):
                if node.id in text.named:
                    self.add(module, node.id)
                elif node.id in text.imports:
                    for found in text.brought(node.id):
                        self._import(*found)
                elif node.id in BY_TEXT:
                    self.add(module)
            elif isinstance(node, ast.Import | ast.ImportFrom):  # within a function
                for target, name in _imports([node], package).values():
                    self._import(target, name)

    def _import(self, module: str, name: str | None) -> None:
        if name is not None and self.add(f"{module}.{name}"):  # from . import helpers
            return
        if not self.add(module, name or ALL):
            self.outside.add(module.partition(".")[0])

    def _add_registered(self) -> None:
        """Add the definitions that enter themselves into what was reached: `@register` appends to a list."""
        before = -1
        while before != (before := sum(map(len, self.found.values()))):
            for module, name, caller in self.listeners:
                if name not in self.found[module]:
                    reach = Reach()
                    reach.add(module, caller)
                    if any(_is_state(each, state) for each, names in reach.found.items()
                           for state in names.keys() & self.found.get(each, {}).keys()):  # fmt: skip
                        self.add(module, name)

    def hashes(self) -> dict[str, str]:
        """Return {file: SHA-256 of the definitions reached in it, without their wording, to ten digits}."""
        found = {}
        self._add_registered()
        for module, names in self.found.items():
            text = _definitions(module)
            assert text is not None
            nodes = [*text.loose, *(node for name in text.named if name in names for node in text.named[name])]
            used = {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)} | names.keys()
            imports = sorted(f"{name} {_neutral(*text.imports[name])}" for name in used & text.imports.keys())
            parts = [*imports, *(dumped(node, own=module_of(module) is not None) for node in nodes)]
            if not parts and module_of(module):  # a file that brings nothing
                continue
            found[text.key] = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
        return dict(sorted(found.items()))


def _is_state(module: str, name: str) -> bool:
    """Return whether a definition is a value that code at the top of a file can change, such as a list."""
    text = _definitions(module)
    for node in text.named.get(name, []) if text else []:
        if isinstance(node, ast.ClassDef) and "__init_subclass__" in [getattr(each, "name", "") for each in node.body]:
            return True
        if isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(node.value, ast.Constant | ast.Tuple):
            return True
    return False


def _neutral(module: str, name: str | None) -> str:
    """Return an imported name without the name of an own package, which any change of its files changes."""
    own = module_of(module) or module_of(f"{module}.{name}")
    return f"{own.key if own else module} {name}"


def dumped(node: ast.AST, own: bool = False) -> str:
    """Return a syntax tree as a text without comments, docstrings, messages of errors, and texts with a blank in them.

    Rewording a message must not train a finished study again. A text that decides something, such as the name of an
    option, has no blank. In `own` code it may, as the equation of an einsum: there only docstrings, messages of errors
    and what is printed are dropped.
    """

    class Remover(ast.NodeTransformer):  # ast.parse has dropped the comments already
        def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
            return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

        def visit_Raise(self, node: ast.Raise) -> ast.AST:
            if isinstance(node.exc, ast.Call):  # the type of an error may be caught, its text may not
                node.exc.args, node.exc.keywords = [], []
            return node

        def visit_Assert(self, node: ast.Assert) -> ast.AST:
            node.msg = None
            return self.generic_visit(node)

        def visit_Call(self, node: ast.Call) -> ast.AST:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if own and name in TOLD:
                node.args = [each for each in node.args if not isinstance(each, ast.Constant | ast.JoinedStr)]
            return self.generic_visit(node)

        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            worded = not own and isinstance(node.value, str) and " " in node.value
            return ast.Constant("") if worded else node

        def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
            texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            worded = not own and any(" " in str(text) for text in texts)
            return ast.Constant("") if worded else self.generic_visit(node)

    return ast.dump(Remover().visit(copy.deepcopy(node)))


def _definitions(module: str) -> Definitions | None:
    """Return the definitions of a module that is followed, None for any other one."""
    if own := module_of(module):
        return _of_own(own)
    return _of_built_in(module) if module.startswith(f"{FOLLOWED}.") else None


@functools.lru_cache(maxsize=256)
def _of_own(module: OwnModule) -> Definitions:
    return _read(module.tree(), module.package, module.key)


@functools.cache  # once in a process, which runs what it has imported: the files may be edited meanwhile
def _of_built_in(module: str) -> Definitions | None:
    file = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        return None
    key = file.relative_to(PACKAGE).as_posix()
    return _read(ast.parse(file.read_text(encoding="utf-8")), module.rpartition(".")[0], key)


def _read(tree: ast.Module, package: str, key: str) -> Definitions:
    named, loose, imported = dict[str, list[ast.stmt]](), list[ast.stmt](), list[ast.stmt]()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and all(alias.name != "*" for alias in node.names):
            imported.append(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) and not _for_types(node):
            names = _names(node)
            for name in names:
                named.setdefault(name, []).append(node)
            loose += [] if names else [node]
    several = [each for node in imported for each in _imports([node], package).values()]
    called = [
        (node.name, each.id)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for part in (*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else ()))
        for each in ast.walk(part)
        if isinstance(each, ast.Name)
    ]
    return Definitions(key, named, _imports(imported, package), loose, called, several)


def _for_types(node: ast.stmt) -> bool:
    """Return whether a statement is read by type checkers alone."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        inner = [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
        names = [each for target in (*targets, *inner) for each in ast.walk(target)]
        # `table["adam"] = …` changes a definition and is none.
        plain = all(isinstance(each, ast.Name | ast.Tuple | ast.List | ast.Store | ast.Starred) for each in names)
        return [each.id for each in names if isinstance(each, ast.Name)] if plain else []
    return []


def _imports(nodes: Iterable[ast.stmt], package: str) -> dict[str, tuple[str, str | None]]:
    found = dict[str, tuple[str, str | None]]()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            module = absolute_name(node, package)
            for alias in node.names:
                found[alias.asname or alias.name] = (module, None if alias.name == "*" else alias.name)
    return found
