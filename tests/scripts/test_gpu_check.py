"""The check that is prepared for a GPU, tried on a CPU: its parts run, a part that fails or hangs ends no other."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

SCRIPTS = ROOT / "scripts"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.long
def test_parts_run_on_a_cpu_and_the_page_has_their_results(in_empty_folder):
    """Two of six; all of them, in a minute: python scripts/gpu_check.py --device cpu --small --out FOLDER."""
    parts = ("tests", "steps")
    command = [
        sys.executable,
        SCRIPTS / "gpu_check.py",
        "--device",
        "cpu",
        "--small",
        "--out",
        "found",
        "--only",
        *parts,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment(), timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(Path("found/gpu_check.json").read_text())
    assert {name: part["state"] for name, part in found["parts"].items()} == dict.fromkeys(parts, "done")
    parts = {name: part["result"] for name, part in found["parts"].items()}
    assert parts["tests"]["tests"] > parts["tests"]["skipped"] and parts["tests"]["failed"] == []
    assert [row["way"] for row in parts["steps"]] == ["floor", "trainer"] * 2
    assert all(row["images a second"] > 0 for row in parts["steps"])
    page = Path("found/gpu_check.md").read_text()
    assert page == done.stdout[:-1]
    assert page.count("Not measured.") == 4


@pytest.mark.long
def test_a_part_that_fails_hangs_or_has_no_time_ends_no_other_and_keeps_what_it_wrote(tmp_path, monkeypatch):
    from gpu_check import Check

    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    check = Check(argparse.Namespace(device="cpu", small=True, out=tmp_path, seconds=60, only=None))
    rows = tmp_path / "rows.json"
    hangs = f"import time; open({str(rows)!r}, 'w').write('[1]'); time.sleep(600)"
    check.part("hangs", 6, [sys.executable, "-c", hangs], lambda: json.loads(rows.read_text()))
    check.part("fails", 9, [sys.executable, "-c", "raise SystemExit('no such card')"], lambda: {}["rows"])
    check.arguments.seconds = 0
    check.part("late", 9, [sys.executable, "-c", ""], list)
    found = json.loads((tmp_path / "gpu_check.json").read_text())["parts"]
    assert {name: (part["state"], part["result"]) for name, part in found.items()} == {
        "hangs": ("stopped at its limit of 6 s", [1]),
        "fails": ("exit code 1: no such card", None),
        "late": ("not run: no time was left", None),
    }


def test_the_page_is_written_whatever_a_part_has_measured():
    from gpu_page import page

    cell = {"network": "resnet18", "precision": "fp32", "batch size": 128}
    seen = {"milliseconds": 2.0, "lowest": 1.9, "highest": 2.1, "images a second": 64_000.0, "seconds an epoch": 0.7}
    steps = [{**cell, "way": "floor", "error": "out of memory"}, {**cell, "way": "trainer", **seen}]
    parts = {"steps": steps, "contenders": [{"rounds": []}], "recipe": [{"seconds": 1.5, "validation": 0.9}]}
    done = {name: {"state": "done", "seconds": 1.0, "result": result} for name, result in parts.items()}
    told = page({"machine": {}, "parts": done})
    assert "| resnet18 | fp32 | 128 | floor | out of memory |" in told
    assert "| trainer | 2.000 [1.900–2.100] | – | 64000 |" in told and "| 0 | 1.50 | 90.00% |" in told
    assert "Not shown (IndexError: list index out of range); the JSON file has what was measured." in told


def test_cifar10_is_found_as_an_archive_as_pictures_and_in_the_folder_that_is_packed(tmp_path):
    from gpu_check import cifar10_in

    for made, expected in (("a/train", "a"), ("b/cifar10/train", "b/cifar10"), ("c/MNIST/raw", None)):
        (tmp_path / made).mkdir(parents=True)
        assert cifar10_in(tmp_path / made[0]) == (expected and tmp_path / expected)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/cifar-10-python.tar.gz").touch()
    assert cifar10_in(tmp_path / "d") == tmp_path / "d"


def test_a_gpu_that_is_not_there_is_one_line():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "gpu_check.py"], check=False, capture_output=True, text=True, env={**os.environ}
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "gpu_check.py: error: there is no GPU here; --device cpu --small tries the script itself",
    )
