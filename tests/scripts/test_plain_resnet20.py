"""The plain ResNet-20 that the one of this program is compared with: it trains by itself."""

import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image


@pytest.mark.long
def test_the_plain_script_trains_and_prints_its_accuracies(in_empty_folder, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import plain_resnet20

    draw = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in ("cat", "dog"):
            folder = in_empty_folder / part / label
            folder.mkdir(parents=True)
            for index in range(6):
                Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{index}.png")
    monkeypatch.setattr(sys, "argv", ["plain_resnet20.py", ".", "--epochs", "2", "--batch", "6", "--seeds", "0", "1"])
    plain_resnet20.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("validation accuracy ")
