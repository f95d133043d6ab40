"""A study is whole: it holds its runs, moves, says what is missing, and grows without training anything twice."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import interpret

from trainer.cli import report
from trainer.cli import study as command
from trainer.errors import ConfigError
from trainer.reports import page
from trainer.reports.content import of_study
from trainer.storage.untrusted import read_json
from trainer.study import adopt as adoption
from trainer.study.execute import run_study
from trainer.study.manifest import Manifest

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
SHORT = (*TINY, "epochs=1")


def study(*arguments: str) -> Path:
    folder = run_study(interpret(["-m", *SHORT, *arguments])).folder
    assert folder
    return folder


def page_of(folder: Path) -> str:
    """The page without the time at which it was written and the place at which the study lies."""
    text = page.render(of_study(folder))
    head, _, rest = text.partition("Written ")
    return (head + rest.partition("<")[2]).replace(str(folder), "STUDY")


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/last.safetensors")}


def test_a_study_is_the_same_after_another_one_is_gone_and_it_was_moved(tmp_path, capsys):
    first = study("lr=0.1,0.2", "seed=0,1,2")
    second = study("lr=0.1,0.2,0.3", "seed=0,1,2")
    assert [bool(entry.source) for entry in Manifest.read(second).entries] == [True] * 6 + [False] * 3
    assert "9 runs; 6 are finished already" in capsys.readouterr().out
    before, rows = page_of(second), (second / "table.csv").read_text()
    shutil.rmtree(first)
    assert report.main([str(second)]) == 0
    told = capsys.readouterr().out
    moved = shutil.move(second, tmp_path / "handed in")
    assert page_of(moved) == before and (moved / "table.csv").read_text() == rows
    assert report.main([str(moved)]) == 0
    assert capsys.readouterr().out.replace(str(moved), str(second)) == told
    assert Manifest.read(moved).restart_command == f"python -m trainer study '{moved}' continue"


def test_a_run_that_is_missing_is_never_one_that_waits(capsys):
    folder = study("lr=0.1,0.2", "seed=0,1,2")
    verdict = of_study(folder).verdict
    for gone in folder.glob("lr-0.2_*"):
        shutil.rmtree(gone)
    assert report.main([str(folder)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    sentence = "3 of 6 runs are missing: their folders are gone; where study.json holds their results, these are used"
    assert sentence in told and "queued" not in told
    # Which images each run classified correctly is in its folder alone.
    seeds_alone = [line.partition("; on other images")[0] for line in verdict]
    assert of_study(folder).verdict == [*seeds_alone, sentence]
    # As before 0.4.0: the runs lie in another study, whose folder is gone.
    tree = read_json(folder / "study.json")
    for run in tree["runs"]:
        run.update(result=None, folder=run["folder"].replace("lr-0.2", "../gone/lr-0.2"))
    (folder / "study.json").write_text(json.dumps(tree))
    assert report.main([str(folder)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "3 of 6 runs are missing: their folders are gone lr=0.2: 3 of 3 runs are missing" in told
    assert "queued" not in told
    assert study("lr=0.1,0.2", "seed=0,1,2") == folder and report.main([str(folder)]) == 0


def test_a_run_of_another_study_is_taken_whole_or_not_at_all(monkeypatch, tmp_path):
    first = study("lr=0.1,0.2")

    def full(source, target, link):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(adoption, "_take", full)
        with pytest.raises(Exception, match=r"lr-0.2\S* could not be written: No space left on device"):
            study("lr=0.2,0.3", "sweep.name=second")
    (second,) = Path("outputs/sweeps").glob("second-*")
    assert [path.name for path in second.iterdir()] == [".lock"]
    with monkeypatch.context() as other_disk:  # no links from one file system to another
        other_disk.setattr(adoption.os, "link", lambda *_, **__: full(*_, link=True))
        study("lr=0.2,0.3", "sweep.name=second")
    copy, original = next(second.glob("lr-0.2-*")), next(first.glob("lr-0.2-*"))
    assert (copy / "best.safetensors").read_bytes() == (original / "best.safetensors").read_bytes()
    assert (copy / "best.safetensors").stat().st_nlink == 1
    # A folder with the name of a run that holds another one is not believed.
    original.rename(first / "kept")
    shutil.copytree(next(first.glob("lr-0.1-*")), original)
    # Nor is a link followed, which is no reason not to train the run.
    (best := next(first.glob("lr-0.1-*")) / "best.safetensors").unlink()
    best.symlink_to(tmp_path / "other")
    shutil.rmtree(second)
    assert [entry.source for entry in Manifest.read(study("lr=0.1,0.5", "sweep.name=fourth")).entries] == [None, None]
    third = study("lr=0.2,0.4", "sweep.name=third")
    assert [entry.source for entry in Manifest.read(third).entries] == [None, None]


@pytest.mark.long
def test_a_named_study_grows_by_the_same_command_with_more_values(capsys):
    folder = study("lr=0.1,0.2", "sweep.name=mine")
    first = stamps(folder)
    assert study("lr=0.1,0.2", "seed=0,1,2", "sweep.name=mine") == folder  # seed 0 was no axis before
    assert study("lr=0.3", "seed=0,1,2", "sweep.name=mine") == folder
    manifest = Manifest.read(folder)
    assert [(change.text, change.runs, change.ended) for change in manifest.changes] == [
        ("added (seed=1,2)", 4, 2),
        ("added (lr=0.3)", 3, 6),
    ]
    points = {(entry.point["lr"], entry.point["seed"]) for entry in manifest.entries}
    assert points == {(name, seed) for name in ("0.1", "0.2", "0.3") for seed in "012"}
    assert stamps(folder).items() >= first.items() and len(stamps(folder)) == 9
    assert (manifest.axes, manifest.replicates) == (("lr=0.1,0.2,0.3",), ("seed=0,1,2",))
    sentence, _, warning, advice = of_study(folder).verdict[-4:]
    assert sentence.startswith("4 runs were added (seed=1,2) on 20")
    assert sentence.endswith(", when the results of 2 runs were known")
    assert warning == "A comparison that is changed in the light of its results errs in more than 5 % of cases"
    assert advice.startswith("Adding seeds until a verdict comes reports a difference in 14 to 17 % of studies of")
    capsys.readouterr()
    # Its former command, and that of the whole, lead to it again; it has the same id for the ledger of the test set.
    again = stamps(folder)
    assert study("lr=0.1,0.2", "sweep.name=mine") == folder
    assert Manifest.read(folder).axes == manifest.axes  # in the same order
    assert study("lr=0.1,0.2,0.3", "seed=0,1,2", "sweep.name=mine") == folder
    assert stamps(folder) == again and Manifest.read(folder).id == manifest.plans[0] == folder.name[-8:]
    assert Manifest.read(folder).changes == manifest.changes
    assert "9 runs; 9 are finished already" in capsys.readouterr().out
    # Another name asks for another study of the same runs, which are not trained again.
    other = study("lr=0.1,0.2", "sweep.name=yours")
    assert other.name == f"yours-{manifest.id}" and all(entry.source for entry in Manifest.read(other).entries)


def test_a_command_with_other_settings_is_another_study_of_that_name(capsys):
    folder = study("lr=0.1,0.2", "sweep.name=mine")
    other = study("lr=0.1,0.3", "dropout=0.5", "sweep.name=mine")
    assert other != folder and len(Manifest.read(folder).entries) == 2
    told = capsys.readouterr().out
    assert f"Note: {folder} is another study of this name: dropout is 0.0 there and 0.5 here. This one gets" in told
    with pytest.raises(ConfigError) as caught:
        study("lr=0.1,0.3", "dropout=0.5", f"output_dir={folder}")
    assert str(caught.value) == f"output_dir={folder}: holds another study: dropout is 0.0 there and 0.5 here"
    with pytest.raises(ConfigError) as caught:
        study("optimizer=sgd,adam", f"output_dir={folder}")
    assert str(caught.value) == f"output_dir={folder}: holds another study: it compares lr, and this one optimizer"


def test_outputs_lie_where_they_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAINER_OUTPUTS", str(tmp_path / "by variable"))
    assert study("lr=0.1,0.2").parent == tmp_path / "by variable" / "sweeps"
    assert study("lr=0.1,0.2", f"output_root={tmp_path}/typed").parent == tmp_path / "typed" / "sweeps"
    place = tmp_path / "one"
    assert study("lr=0.1,0.2", f"output_dir={place}") == place
    assert study("lr=0.1,0.2,0.3", f"output_dir={place}") == place and len(Manifest.read(place).entries) == 3
    assert Manifest.read(place).restart_command.startswith("python -m trainer -m dataset=digits ")
    moved = place.rename(tmp_path / "two")
    assert Manifest.read(moved).restart_command == f"python -m trainer study {moved} continue"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError) as caught:
        study("lr=0.1,0.2", f"output_dir={tmp_path}/full")
    assert str(caught.value) == f"output_dir={tmp_path}/full: is not empty, and holds no study. Name another folder"
    for inside in (place := tmp_path / "two") / "new", next(place.glob("lr-0.1-*")) / "new":
        with pytest.raises(ConfigError, match=r"lies in \S+, a study or run. Name another folder$"):
            study("lr=0.1,0.2", f"output_dir={inside}")
    with pytest.raises(ConfigError) as caught:
        study("lr=0.1,0.2", "output_dir=results", "output_root=results")
    assert str(caught.value) == "output_dir=results: is the folder of all studies, or above it. Name another folder"
    assert not Path("outputs").exists() and not Path("results").exists()


def test_a_study_of_an_earlier_version_takes_its_runs_and_leaves_the_others(tmp_path):
    first = study("lr=0.1,0.2", "sweep.name=first")
    second = study("lr=0.2,0.3", "sweep.name=second")
    path, tree = second / "study.json", read_json(second / "study.json")
    taken = tree["runs"][0]
    shutil.rmtree(second / taken["folder"])
    # Its name is not believed: it could lead anywhere.
    taken.update(folder=f"../{taken['source']}", source=None, result=None, slug="../../elsewhere")
    for absent in ("plans", "changes", "labels"):
        del tree[absent]
    path.write_text(json.dumps(tree))
    files = sorted(first.rglob("*"))
    for verb in (["continue"], ["continue"], ["drop", "lr=0.2", "--yes"]):  # the second as if the first was killed
        path.write_text(json.dumps(tree))
        assert command.main([str(second), *verb]) == 0
    assert sorted(first.rglob("*")) == files and not list(tmp_path.rglob("elsewhere*"))
    assert [entry.point["lr"] for entry in Manifest.read(second).entries] == ["0.3"]
    assert len(list(second.glob("dropped_*_lr-0.2-*"))) == 1
