"""The identity of a run: its configuration, the code that decides its result, and its data."""

import ast
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from trainer.config.run_config import RunConfig, Tag, tagged
from trainer.config.schema import PACKAGE
from trainer.runtime.files import expanded

# The code that decides a result; how a run is checked, shown or stored does not. A test holds that nothing else that
# these packages import decides one.
DECIDING = ("data", "techniques", "training", "runtime/seeding.py")
# Among the techniques: a check refuses a run, a remedy is advice.
NOT_DECIDING = ("techniques/checks.py", "techniques/remedies.py")
LIBRARIES = ("torch", "numpy", "scikit-learn")


def digest(value: Any, length: int = 10) -> str:
    """Return the first digits of the SHA-256 of plain values, whatever the order of their keys."""
    # 10 hexadecimal digits: among 10 000 runs two collide with a probability of 5e-5.
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def code_fingerprint() -> str:
    """Return the hash of the code that decides a result, without its wording, and of the libraries' versions."""
    paths = [PACKAGE / name for name in DECIDING]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    texts = {file.relative_to(PACKAGE).as_posix(): without_wording(file.read_text("utf-8")) for file in files}
    contents = {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items() if name not in NOT_DECIDING
    }
    return digest({"files": contents, "libraries": {name: version(name) for name in LIBRARIES}})


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


class DataFingerprints:
    """The SHA-256 of each data set's pixels, labels and classes, computed once."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of(self, config: RunConfig) -> str:
        """Return the fingerprint of a run's data. Raises ConfigError or RunError as reading the data does."""
        place = expanded(config.data_dir)
        key = digest([config.dataset.name, config.dataset.options, str(place.absolute())])
        # Imported here, so that this module needs no torch.
        if key not in self.known:
            from trainer.data.loader import load
            from trainer.training.build import pick_device

            self.known[key] = load(config.dataset, place, pick_device(config.device)).fingerprint
        return self.known[key]


def run_id(config: RunConfig, code: str, data: str) -> str:
    """Return the id of a run; two runs with the same id give the same result."""
    return digest({"config": significant(config.tree()), "code": code, "data": data})


def significant(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that decides the result."""
    return {key: value for key, value in tree.items() if key not in tagged(Tag.NO_EFFECT)}
