"""`trainer clean`: measures by file and not by name, deletes what is named alone, and what is left still works."""

import json
import os
from pathlib import Path

import pytest
from conftest import interpret

from trainer.cli.clean import main
from trainer.errors import ConfigError
from trainer.records.disk_usage import freed_by, size_of
from trainer.reports.content import of_study
from trainer.runtime.lock import locked
from trainer.runtime.text import file_size
from trainer.storage.untrusted import read_json
from trainer.study.execute import run_study

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")


def begun(*arguments: str) -> Path:
    folder = run_study(interpret(["-m", *TINY, "epochs=2", *arguments])).folder
    assert folder
    return folder


@pytest.fixture
def two_studies(monkeypatch, tmp_path) -> tuple[Path, Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return begun("lr=0.1,0.2"), begun("lr=0.2,0.3")


def test_what_has_two_names_counts_once_and_is_freed_with_the_last(two_studies, capsys):
    first, second = two_studies
    one, other = (next(folder.glob("lr-0.2-*")) / "last.safetensors" for folder in two_studies)
    size = one.stat().st_size
    assert size_of([one, other]) == size == freed_by([one, other]) and freed_by([one]) == 0
    assert size_of([Path("outputs")]) < size_of([first]) + size_of([second])
    assert main([]) == 0
    told = capsys.readouterr().out
    assert f"outputs: {file_size(size_of([Path('outputs')]))} in 2 studies and runs\n" in told
    assert "To delete some of it: python -m trainer clean outputs previous;" in told


def test_only_what_is_named_is_deleted_and_the_rest_still_works(two_studies, capsys):
    first, _ = two_studies
    result = of_study(first).verdict
    files = {path for path in Path("outputs").rglob("*") if path.is_file()}
    states = {path for path in files if path.name == "last.safetensors"}
    assert main(["states", "--dry-run"]) == 0
    assert "4 files would be deleted: " in capsys.readouterr().out
    with pytest.raises(
        ConfigError, match=r"^Delete 4 files below outputs, \S+ kB\? Nobody can be asked here: add --yes$"
    ):
        main(["outputs", "states"])
    assert {path for path in Path("outputs").rglob("*") if path.is_file()} == files
    assert main(["outputs", "states", "--yes"]) == 0
    assert {path for path in Path("outputs").rglob("*") if path.is_file()} == files - states
    assert of_study(first).verdict == result
    capsys.readouterr()
    assert begun("lr=0.1,0.2") == first  # the command finds its runs finished
    assert "2 runs; 2 are finished already" in capsys.readouterr().out
    begun("lr=0.1,0.2", "retrain=true")
    assert main(["aside", "--yes"]) == 0 and not list(first.glob("before_*"))
    assert len(list(first.glob("lr-*/last.safetensors"))) == 2


def test_a_run_that_has_not_ended_or_is_being_trained_keeps_its_files(two_studies, capsys):
    first, second = two_studies
    running, interrupted = (next(first.glob(f"lr-{lr}-*")) for lr in ("0.1", "0.2"))
    path = interrupted / "result.json"
    path.write_text(json.dumps({**read_json(path), "state": "interrupted"}))
    (first / ".study.json.1.writing").write_text("{")
    old = second / ".study.json.2.writing"
    old.write_text("{")
    os.utime(old, (0, 0))
    with locked(running):
        assert main(["previous", "states", "torn", "--yes"]) == 0
        assert main(["previous"]) == 0
    assert len(list(running.glob("*.safetensors"))) == len(list(interrupted.glob("*.safetensors"))) == 4
    assert [path.name for path in second.glob("*/*.safetensors")] == ["best.safetensors"] * 2
    assert (first / ".study.json.1.writing").exists() and not old.exists()
    assert capsys.readouterr().out.endswith("outputs: there is nothing of kind previous\n")


def test_two_roots_are_one_line(two_studies):
    with pytest.raises(ConfigError) as caught:
        main(["outputs", "stats"])
    assert str(caught.value).startswith("one ROOT is expected, 2 are named: outputs, stats. Kinds: previous, torn, pic")
