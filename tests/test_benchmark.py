"""The benchmark's own two contenders, on a few pictures: the others need packages that only it asks for."""

import json

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
    done = program(name, *arguments, cwd=in_empty_folder, module="scripts.contenders")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((in_empty_folder / "result.json").read_text())
    assert len(result["stamps"]) == 4 and result["stamps"] == sorted(result["stamps"])
    assert 0 <= result["accuracy"] <= 1 and result["peak_bytes"] > 1e8
