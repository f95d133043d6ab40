"""The code that decides a result: its files and their hashes, and those that differ from a recorded run's."""

import ast
import contextlib
import functools
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trainer.config.schema import PACKAGE
from trainer.errors import printable
from trainer.runtime.console import warn
from trainer.storage.untrusted import read_json

# The code that decides a result; how a run is checked, shown or stored does not. A test holds that nothing else that
# these packages import decides one.
DECIDING = ("data", "techniques", "training", "runtime/seeding.py")
# Among the techniques: a check refuses a run, idle settings are warned of, a remedy is advice.
NOT_DECIDING = ("techniques/checks.py", "techniques/idle.py", "techniques/remedies.py")
# The part of it that decides what a trained network computes.
NETWORK = ("techniques/activation.py", "techniques/layers.py", "techniques/model.py", "techniques/normalization.py")
NAMED = 3  # changed files at most that a sentence lists


@functools.cache  # once in a process, which runs what it has imported: the files may be edited meanwhile
def code_hashes() -> Mapping[str, str]:
    """Return the SHA-256 of each file that decides a result, without its wording, to ten digits."""
    paths = [PACKAGE / name for name in DECIDING]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    texts = {file.relative_to(PACKAGE).as_posix(): file for file in files}
    return {
        name: hashlib.sha256(without_wording(file.read_text("utf-8")).encode()).hexdigest()[:10]
        for name, file in texts.items()
        if name not in NOT_DECIDING
    }


def without_wording(source: str) -> str:
    """Return Python source without comments, docstrings, messages of errors, and texts with a blank in them.

    Rewording a message must not train a finished study again. A text that decides something, such as the name of an
    option, has no blank.
    """

    class Remover(ast.NodeTransformer):  # ast.parse has dropped the comments already
        def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
            return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

        def visit_Raise(self, node: ast.Raise) -> ast.AST:
            if isinstance(node.exc, ast.Call):  # the type of an error may be caught, its text may not
                node.exc.args, node.exc.keywords = [], []
            return node

        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            worded = isinstance(node.value, str) and " " in node.value
            return ast.Constant("") if worded else node

        def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
            texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            return ast.Constant("") if any(" " in str(text) for text in texts) else self.generic_visit(node)

    return ast.dump(Remover().visit(ast.parse(source)))


def changed_files(then: Any, now: Any, among: Collection[str] | None = None) -> str:
    """Return the files whose hashes differ, in words: "techniques/activation.py"; "" if none does.

    Both are entries of an `environment.json`, which may be untrusted or of a version that recorded no hashes: "" then.
    """
    before, after = (entry.get("code") if isinstance(entry, Mapping) else None for entry in (then, now))
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return ""
    compared = {*before, *after} if among is None else among
    names = sorted(printable(str(name)) for name in compared if before.get(name) != after.get(name))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def warn_of_other_network(folder: Path) -> None:
    """Warn if the code of the networks is not what the run in a folder was trained with; nothing without a record."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        if files := changed_files(read_json(folder / "environment.json")[-1], {"code": code_hashes()}, NETWORK):
            warn(f"{folder} was trained with other code ({files}): with today's its network may give other answers")
