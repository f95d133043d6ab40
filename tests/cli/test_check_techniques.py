"""`trainer check-techniques`: one table, the reasons below it, and the exit code."""

from pathlib import Path

import pytest
from test_technique import RIGHT, SGD

from trainer.cli.main import main

WRONG = SGD.replace("def own(", "def wrong(").replace('alpha=group["lr"]', "alpha=0.01")


@pytest.fixture
def mine(in_empty_folder, monkeypatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    Path("mine").mkdir()
    Path("mine/optimizer.py").write_text(SGD)
    Path("mine/metric.py").write_text(RIGHT["metric"])
    return Path("mine")


def printed(capsys, *arguments: str) -> tuple[int, list[str]]:
    """The exit code and the lines on both streams."""
    code = main(["check-techniques", *arguments])
    found = capsys.readouterr()
    return code, [line.rstrip() for line in (found.out + found.err).splitlines()]


def test_a_table_says_what_is_kept_and_the_lines_below_it_why_not(mine, capsys):
    Path("mine/optimizer.py").write_text(SGD + WRONG.partition("import torch\n")[2].replace("Own", "Wrong"))
    code, lines = printed(capsys, "mine", "own", "wrong")
    assert code == 1 and max(map(len, lines[:4])) <= 80
    assert lines[0].split() == ["technique", "seed", "resume", "random", "bf16", "contract", "step"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:4]}
    assert rows["metric=own"] == ["ok", "ok", "ok", "ok", "1", "of", "1", "—"]
    assert rows["optimizer=own"][:7] == ["ok", "ok", "ok", "ok", "5", "of", "5"] and rows["optimizer=own"][8] == "adam"
    assert rows["optimizer=wrong"] == ["ok", "ok", "ok", "ok", "3", "of", "5", "—"]
    sentences = [line for line in lines[4:] if not line.startswith("optimizer=")]
    place = "FAILED optimizer=wrong (mine/optimizer.py, line 20): "
    assert sentences[0].startswith(f"{place}obeys rate: 3 steps at a rate of 0 change the weights by ")
    assert sentences[1].startswith(f"{place}keeps rates apart: parameter group 1 of 2 moves by ")
    assert sentences[2:] == ["2 of 3 pass; not optimizer=wrong"]


def test_an_option_without_a_default_is_told_and_taken_from_the_command_line(mine, capsys):
    Path("mine/optimizer.py").write_text(SGD.replace("weight_decay):", "weight_decay, *, beta: float):"))
    code, lines = printed(capsys, "mine", "optimizer.own")
    assert code == 1
    assert (
        "FAILED optimizer=own (mine/optimizer.py, line 8): optimizer.beta has no default, it must be a number: add"
        in (lines[2])
    )
    code, lines = printed(capsys, "mine/optimizer.py", "own", "optimizer.beta=0.9", "lr=0.01", "optimizer=adam")
    assert (code, lines[-1]) == (0, "1 of 1 pass") and lines[1].startswith("optimizer=own ")


def test_code_that_fails_is_told_with_its_line(mine, capsys):
    Path("mine/optimizer.py").write_text(SGD.replace("p.sub_(", "p.subb_("))
    code, lines = printed(capsys, "mine/optimizer.py")
    error = "AttributeError: 'Parameter' object has no attribute 'subb_' (mine/optimizer.py, line 17)"
    assert code == 1 and any(error in line for line in lines), lines


def test_one_mistake_of_a_model_is_one_sentence(mine, capsys):
    Path("mine/model.py").write_text(RIGHT["model"].replace("shape[0] *", "3 *"))
    code, lines = printed(capsys, "mine/model.py")
    reason = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x256 and 768x10)"
    assert code == 1 and lines[1].split() == ["model=own", *"————", "0", "of", "6", "—"]
    assert [line for line in lines if "RuntimeError" in line] == [
        f"FAILED model=own: mine/model.py: model=own: {reason}",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "--techniques nowhere (command line): there is no such folder or file"),
        (["mine", "ownn"], "ownn: there is no such function in mine. Did you mean own? There are: own, own"),
        (["mine", "optimizer.betta=1"], "optimizer.betta=1 (command line): none of the functions that are checked has"),
        (["mine", "lr=fast"], "lr='fast' (command line): must be a number above 0"),
        (["mine", "own", "lr=0.1,0.01"], "lr=0.1,0.01 (command line): several values need -m"),
        (["mine", "--device", "tpu"], "argument --device: tpu: must be auto, cpu, mps, cuda or cuda:N"),
        ([], "PATH: is missing. See python -m trainer check-techniques --help"),
    ],
)
def test_a_wrong_command_is_one_line_before_anything_is_run(mine, capsys, arguments, line):
    code, (found,) = printed(capsys, *arguments)
    assert code == 2 and found.startswith(f"trainer: {line}")
