"""`trainer new`: a technique to fill in, which works as it is written, in a file of its own or behind others."""

import ast
import shlex
from pathlib import Path

import pytest
import yaml

from trainer.cli.main import main
from trainer.config.schema import GROUPS

SIGN = """\
# my optimizers
import math
from torch import nn, optim


def sign(params, lr, weight_decay):
    return optim.SGD(params, lr)
"""


def new(*arguments: str) -> int:
    return main(["new", *arguments, "--techniques", "mine"])


@pytest.mark.long
def test_a_technique_of_every_group_passes_its_checks_as_it_is_written(in_empty_folder, capsys):
    for group in GROUPS:
        assert new(group, "mine_own") == 0
    commands = [shlex.split(line)[3:] for line in capsys.readouterr().out.splitlines() if line.startswith("  python")]
    assert len(commands) == 3 * len(GROUPS) and commands[1] == ["check-techniques", "mine", "mine_own"]
    assert main(commands[1]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "12 of 12 pass" in printed and all("FAILED" not in line for line in printed)
    helps = [command for command in commands if "--help" in command]
    assert all(main(command) == 0 for command in helps)
    told = " ".join(capsys.readouterr().out.split())
    assert all(f"{group}=mine_own" in told for group in GROUPS) and "share of the momentum that a step keeps" in told
    assert main([*commands[3 * [*GROUPS].index("optimizer") + 2], "--cfg", "job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["optimizer"] == {"name": "mine_own", "beta": 0.9}


def test_a_file_that_exists_is_kept_and_gets_only_the_imports_that_it_lacks(in_empty_folder, capsys):
    Path("mine").mkdir()
    Path("mine/optimizer.py").write_text(SIGN)
    assert new("optimizer", "lynx") == 0
    once = Path("mine/optimizer.py").read_text()
    kept, body = once.split("\n\n\ndef lynx(", 1)
    assert kept.splitlines() == [
        "# my optimizers",
        "import math",
        "from torch import nn, optim",
        "from typing import Any",
        "import torch",
        "from trainer.config.types import Fraction",
        "",
        "",
        "def sign(params, lr, weight_decay):",
        "    return optim.SGD(params, lr)",
    ]
    assert "class _Lynx(torch.optim.Optimizer):" in body
    Path("mine/optimizer.py").write_text(once.replace("types import Fraction", "types import Count, Positive"))
    assert new("optimizer", "lynx_two") == 0
    twice = Path("mine/optimizer.py").read_text()
    assert (
        "from trainer.config.types import Count, Fraction, Positive\n" in twice and twice.count("import torch\n") == 1
    )
    names = [node.name for node in ast.parse(twice).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names == ["sign", "lynx", "_Lynx", "lynx_two", "_LynxTwo"]
    assert main(["--techniques=mine", "--help", "optimizer=lynx_two"]) == 0


def test_lines_that_hold_more_than_an_import_stay_as_they_are(in_empty_folder):
    Path("mine").mkdir()
    text = "from typing import Union; width = 3\r\nfrom trainer.config.types import Count  # whole\r\n"
    Path("mine/optimizer.py").write_bytes(text.encode())
    assert new("optimizer", "lynx") == 0
    written = Path("mine/optimizer.py").read_bytes().decode()
    assert written.startswith(f"{text}from typing import Any\r\nimport torch\r\nfrom trainer.config.types import Frac")
    assert written.count("\n") == written.count("\r\n") and main(["--techniques=mine", "--help", "optimizer=lynx"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["optimiser", "lynx"],
            "optimiser (command line): there is no such group. Did you mean optimizer? Accepted: d",
        ),
        (["optimizer", "adam"], "adam (command line): optimizer=adam is one of the project's: give another name"),
        (["optimizer", "class"], "class (command line): must be a name of Python, of letters, digits and _, which beg"),
        (["optimizer", "_lynx"], "_lynx (command line): must be a name of Python"),
        (["optimizer", "two-words"], "two-words (command line): must be a name of Python"),
        (
            ["regularization", "weights"],
            "weights (command line): has a meaning in Python or in the technique",
        ),
        (
            ["scheduler", "float"],
            "float (command line): has a meaning in Python or in the technique",
        ),
        (["optimizer", "sign"], "mine/optimizer.py, line 6: sign is there already: give another name than sign"),
        (["optimizer", "nn"], "mine/optimizer.py, line 3: nn is there already: give another name than nn"),
        (["model", "net"], "mine/model.py, line 1: invalid syntax; mend it first"),
        (["loss", "gentle"], "mine/conf/loss/gentle.yaml: exists; give the technique another name"),
        (["metric", "cost"], "mine/metric.py, line 1: Tensor must be torch.Tensor in it, which a new technique needs"),
        (["optimizer"], "NAME: is missing. See python -m trainer new --help"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_changes_nothing(in_empty_folder, capsys, arguments, sentence):
    Path("mine/conf/loss").mkdir(parents=True)
    Path("mine/optimizer.py").write_text(SIGN)
    Path("mine/model.py").write_text("def net(:\n")
    Path("mine/metric.py").write_text("from numpy import ndarray as Tensor\n")
    Path("mine/conf/loss/gentle.yaml").write_text("name: gentle\n")
    before = {path: path.read_text() for path in Path("mine").rglob("*") if path.is_file()}
    assert new(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trainer: {sentence}")
    assert {path: path.read_text() for path in Path("mine").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("run/mine", "--techniques run/mine: lies in the record of a run,"),
        ("file.py", "--techniques file.py (command line): must be a folder"),
        ("", "argument --techniques: "),
    ],
)
def test_a_place_for_no_techniques_is_refused(in_empty_folder, capsys, folder, sentence):
    Path("run").mkdir()
    Path("run/config.yaml").touch()
    Path("run/metrics.jsonl").touch()
    Path("file.py").touch()
    assert main([f"--techniques={folder}", "new", "optimizer", "lynx"]) == 2
    assert capsys.readouterr().err.startswith(f"trainer: {sentence}") and not Path("run/mine").exists()
