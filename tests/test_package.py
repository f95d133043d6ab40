"""The wheel, unpacked elsewhere, is the whole program; every library is declared."""

import ast
import re
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT, clean_environment


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Built without a network, so without a build environment of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("ablation_trainer-*-py3-none-any.whl")
    return file


def test_the_wheel_holds_every_yaml_and_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"trainer/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")} <= names
    assert {"trainer/__main__.py", "trainer/py.typed", "trainer/cli/completion.bash"} <= names
    assert not [name for name in names if name.startswith(("tests", "conf", "outputs"))]


def test_the_wheel_runs_from_any_folder(wheel, in_empty_folder):
    site = in_empty_folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    entry = (site / "ablation_trainer-0.3.0.dist-info" / "entry_points.txt").read_text()
    assert "trainer = trainer.cli.main:console_script" in entry
    (in_empty_folder / "elsewhere").mkdir()
    script = "import sys; from trainer.cli.main import console_script; sys.exit(console_script())"
    arguments = ["dataset=digits", "epochs=1", "wandb.mode=disabled"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=False,
        cwd=in_empty_folder / "elsewhere",
        env=clean_environment(PYTHONPATH=str(site)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = (in_empty_folder / "elsewhere" / "outputs").iterdir()
    assert (folder / "best.safetensors").is_file()


# A module whose library has another name; ray comes with its launcher.
LIBRARIES = {"PIL": "pillow", "hydra": "hydra-core", "ray": "hydra-ray-launcher", "yaml": "PyYAML"}


def test_every_library_that_is_imported_is_declared():
    """What another one happens to bring along is gone when that one no longer needs it."""
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    declared = {re.match(r"[\w-]+", each)[0] for each in asked}
    files = (ROOT / "trainer").rglob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    modules = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"trainer"}
    assert {"numpy", "yaml", "torch"} <= modules
    assert {LIBRARIES.get(module, module.replace("_", "-")) for module in modules} <= declared
