"""The benchmark's own two contenders on a few images; the others need packages of the extra bench."""

import json
import re

import numpy as np
import pytest
from conftest import ROOT, program
from PIL import Image


@pytest.mark.parametrize("name", ["floor", "trainer"])
def test_a_contender_hands_in_a_stamp_an_epoch(name, in_empty_folder, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import benchmark

    draw = np.random.default_rng(0)
    for label in ("cat", "dog"):
        folder = in_empty_folder / "own" / "train" / label
        folder.mkdir(parents=True)
        for index in range(20):
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{index}.png")
    data = benchmark._export(in_empty_folder / "own", in_empty_folder / "data.npz")
    options = {"data": data, "data-dir": in_empty_folder / "own", "result": "result.json", "augment": "flip_crop"}
    options |= {"batch-size": 16, "epochs": 3}
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    done = program(name, *arguments, cwd=in_empty_folder, module="scripts.benchmark_rivals")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((in_empty_folder / "result.json").read_text())
    assert len(result["stamps"]) == 4 and result["stamps"] == sorted(result["stamps"])
    assert 0 <= result["accuracy"] <= 1 and result["peak_bytes"] > 1e8


def test_the_table_has_medians_of_the_ratios_within_a_round(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import benchmark

    def seen(epoch, whole):
        return {"start": 1.0, "epoch": epoch, "whole": whole, "peak": 1e9, "accuracy": 0.5}

    pairs = [(1.0, 2.0), (4.0, 1.0), (2.0, 3.0)]
    rounds = [{"floor": seen(floor, 9.0), "trainer": seen(trainer, 9.0 + trainer)} for floor, trainer in pairs]
    benchmark._print_table(["floor", "trainer"], rounds, 512, "none")
    row = next(line for line in capsys.readouterr().out.splitlines() if "trainer" in line)
    cells = [cell.strip() for cell in row.split("│")]
    assert (cells[2], cells[3], cells[6]) == ("2.00 s", "1.50 [0.25–2.00]", "+2.0 s")


def test_a_step_is_profiled(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import profile_step

    monkeypatch.setattr("sys.argv", ["profile_step.py", "device=cpu", "model=mlp", "model.hidden=[8]", "batch_size=4"])
    profile_step.main()
    told = capsys.readouterr().out
    operators = re.fullmatch(
        r"\d+\.\d\d ms a step on cpu, (\d+) operators a step \(with those that they call\)\n", told
    )
    assert operators and 100 < int(operators[1]) < 1000
