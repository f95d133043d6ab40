"""The order of the packages: imports go down the list, never up and never in a circle; some packages need no torch."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from conftest import ROOT

# From the top to the bottom; a package imports from those below it only. docs/architecture.md explains each.
ORDER = (
    "__main__",
    "cli",
    "api",
    "lecture",
    "reports",
    "demonstrations",
    "evaluation",
    "study",
    "run",
    "checking",
    "diagnosis",
    "records",
    "training",
    "techniques",
    "data",
    "config",
    "storage",
    "runtime",
    "stats",
    "errors",
)
# Packages whose docstring says that they import no torch: a mistake is reported, and a report read, without it.
WITHOUT_TORCH = ("config", "errors", "reports", "runtime", "stats")
# Modules of other packages that do without it too: those that a check of a configuration or a diagnosis reads.
MODULES_WITHOUT_TORCH = (
    "trainer.data.download",
    "trainer.techniques.checks",
    "trainer.techniques.idle",
    "trainer.techniques.image_sizes",
    "trainer.techniques.layer_names",
    "trainer.techniques.network_checks",
    "trainer.techniques.remedies",
)
PACKAGE = ROOT / "trainer"


def name_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file):
    """The modules of the trainer that a file imports, at its top or within a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("trainer."))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "trainer":
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (part if part in FILES else node.module for part in parts)


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
GRAPH = {name: {each for each in imports(file) if each != "trainer"} for name, file in FILES.items()}


def floor(module):
    return module.split(".")[1] if "." in module else ""


def test_every_import_goes_down():
    assert {floor(name) for name in FILES} - {""} == set(ORDER)
    places = {name: place for place, name in enumerate(ORDER)}
    up = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if floor(name) and floor(other) and places[floor(name)] > places[floor(other)]
    ]
    assert up == []


def test_no_circle_of_files():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("package", (*WITHOUT_TORCH, *MODULES_WITHOUT_TORCH))
def test_a_package_that_does_without_torch_imports_none(package):
    modules = [name for name in FILES if floor(name) == package] or [package]
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'torchvision'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("set()\n", "")
    assert "Imports no torch" in FILES[f"trainer.{package.removeprefix('trainer.')}"].read_text()


def test_trainer_itself_holds_four_files():
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py", "errors.py", "run.py"]
