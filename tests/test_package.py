"""The wheel, unpacked elsewhere, is the whole program; the README's commands and table are true."""

import ast
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, clean_environment, compose

from trainer.cli.main import COMMANDS, command_main
from trainer.config.help import options
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError

README = (ROOT / "README.md").read_text(encoding="utf-8")


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
    assert {"trainer/__main__.py", "trainer/config/completion.bash"} <= names
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


def readme_commands():
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m trainer ")]


@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_is_a_run_that_could_start(command, capsys):
    arguments = shlex.split(command)[3:]
    if arguments == ["--help"]:
        return
    if arguments[0] in COMMANDS:
        with pytest.raises((ConfigError, SystemExit)) as caught:
            command_main(arguments[0])([*arguments[1:], "--no-such-option"])
        assert "--no-such-option: there is no such option" in str(caught.value)
        return
    if arguments[0].startswith("resume="):
        Path("outputs/RUN").mkdir(parents=True)
        Path("outputs/RUN/config.yaml").write_text(yaml.safe_dump(compose([])[0].tree(), sort_keys=False))
    assert compose(arguments) or capsys.readouterr().out


def test_the_readme_lists_every_option():
    table = README.partition("<!-- options")[2].partition("<!-- /options -->")[0]
    for group in (*GROUPS, "experiment"):
        for name, text in options(group):
            assert f"| {group} | `{name.removesuffix(' *')}` | {text} |" in table, "run scripts/list_options.py"


def test_the_two_commands_are_in_the_readme():
    commands = re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("python -m trainer dataset=digits")
    assert commands[1].endswith("python -m pytest -q")
