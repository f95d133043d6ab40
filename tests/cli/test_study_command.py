"""`trainer study`: shown, continued and grown wherever it lies; runs dropped, names changed; every mistake one line."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import interpret

from trainer.cli import study as command
from trainer.errors import ConfigError, RunError
from trainer.reports.content import of_study
from trainer.storage.untrusted import read_json
from trainer.study.execute import run_study
from trainer.study.manifest import Manifest

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
SHORT = (*TINY, "epochs=1")


def begun(*arguments: str) -> Path:
    folder = run_study(interpret(["-m", *SHORT, *arguments])).folder
    assert folder
    return folder


def arms(folder: Path) -> dict[str, int]:
    return {arm.name: len(arm.values) for arm in of_study(folder).arms}


def starts(folder: Path) -> set[int]:
    return {read_json(path)["starts"] for path in folder.glob("*/result.json")}


@pytest.mark.long
def test_a_study_grows_where_it_lies_and_loses_what_is_dropped(tmp_path, capsys):
    folder = begun("optimizer=sgd,adam")
    assert command.main([str(folder), "add", "seed=1", "seed=2"]) == 0
    assert "[3/6]" in capsys.readouterr().out and arms(folder) == {"sgd": 3, "adam": 3}
    moved = folder.rename(tmp_path / "moved")
    assert command.main([str(moved), "add", "optimizer=rmsprop"]) == 0
    assert arms(moved) == {"sgd": 3, "adam": 3, "rmsprop": 3} and starts(moved) == {1}
    assert not Path("outputs/sweeps").exists() or list(Path("outputs/sweeps").iterdir()) == []
    with pytest.raises(ConfigError, match=r"^Take 3 runs out of \S+moved\? .* Nobody can be asked here: add --yes$"):
        command.main([str(moved), "drop", "optimizer=sgd"])
    assert len(arms(moved)) == 3
    assert command.main([str(moved), "drop", "optimizer=sgd", "--yes"]) == 0
    assert arms(moved) == {"adam": 3, "rmsprop": 3}
    assert len(list(moved.glob("dropped_*_optimizer-sgd*/best.safetensors"))) == 3
    verdict = "\n".join(of_study(moved).verdict)
    assert "3 runs were dropped (optimizer=sgd) on 20" in verdict and "results of 9 runs were known" in verdict
    assert "errs in more than 5 % of cases" in verdict
    capsys.readouterr()
    # What is left goes on: a run whose folder is gone, and nothing of what was dropped.
    shutil.rmtree(next(moved.glob("optimizer-adam_seed-1-*")))
    assert command.main([str(moved)]) == 1
    assert "1 of 6 runs is missing: its folder is gone" in capsys.readouterr().out
    assert command.main([str(moved), "continue"]) == 0
    told = capsys.readouterr().out
    assert "6 runs; 5 are finished already" in told and "3 runs were dropped" in told
    assert command.main([str(moved)]) == 0 and arms(moved) == {"adam": 3, "rmsprop": 3}


@pytest.mark.long
def test_a_study_and_its_arms_get_other_names(capsys):
    folder = begun("optimizer=sgd,adam")
    assert command.main([str(folder), "rename", "adam", "Adam of 2014"]) == 0
    assert command.main([str(folder), "rename", "first-try"]) == 0
    study_id = folder.name[-8:]
    renamed = Path("outputs/sweeps") / f"first-try-{study_id}"
    assert f"Study: {renamed}\nTo continue it: python -m trainer -m " in capsys.readouterr().out
    assert not folder.exists() and set(arms(renamed)) == {"sgd", "Adam of 2014"}
    assert command.main([str(renamed), "rename", "Adam of 2014", "Adam"]) == 0
    assert command.main([str(renamed), "rename", "first-try"]) == 0  # as after a start that was killed
    other = begun("lr=0.1,0.2", "sweep.name=other")
    with pytest.raises(ConfigError) as caught:
        command.main([str(renamed), "rename", "other"])
    assert str(caught.value) == f"rename other: is the name of {other}"
    # The command that is told continues it, and more values keep the names.
    assert begun("optimizer=sgd,adam,adamw", "sweep.name=first-try") == renamed
    assert set(arms(renamed)) == {"sgd", "Adam", "adamw"} and Manifest.read(renamed).id == study_id


@pytest.mark.long
def test_an_experiment_with_arms_takes_one_more(tmp_path):
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "two.yaml").write_text(
        "# @package _global_\n# Two.\nsweep:\n  arms: ['optimizer=sgd lr=0.1', 'optimizer=adam lr=0.001']\n"
    )
    yaml = ("--config-dir", str(tmp_path / "own"))
    folder = begun(*yaml, "experiment=two")
    # Files are taken from the command line alone: those of a study that was sent could start a program.
    with pytest.raises(ConfigError) as caught:
        command.main([str(folder), "continue"])
    assert str(caught.value) == (
        f"{folder} was begun with YAML files of {yaml[1]}, which are taken from the command line alone: add"
        f" --config-dir {yaml[1]}"
    )
    moved = folder.rename(tmp_path / "moved")
    assert Manifest.read(moved).restart_command == f"python -m trainer study {moved} continue --config-dir={yaml[1]}"
    folder = moved
    assert command.main([*yaml, str(folder), "add", "optimizer=rmsprop", "lr=0.01"]) == 0
    assert command.main([*yaml, str(folder), "add", "seed=1"]) == 0
    assert arms(folder) == dict.fromkeys(
        ["optimizer=sgd lr=0.1", "optimizer=adam lr=0.001", "optimizer=rmsprop lr=0.01"], 2
    )
    assert command.main([*yaml, str(folder), "drop", "optimizer=sgd lr=0.1", "--yes"]) == 0
    assert set(arms(folder)) == {"optimizer=adam lr=0.001", "optimizer=rmsprop lr=0.01"}
    assert command.main([*yaml, str(folder), "continue"]) == 0 and starts(folder) == {1}


@pytest.mark.long
def test_what_was_dropped_from_a_grid_of_two_axes_does_not_come_back():
    folder = begun("lr=0.1,0.2", "dropout=0,0.5")
    assert command.main([str(folder), "drop", "lr=0.2 dropout=0.5", "--yes"]) == 0
    # The command of the grid would train it again.
    assert Manifest.read(folder).restart_command == f"python -m trainer study {folder} continue"
    assert command.main([str(folder), "continue"]) == 0
    assert command.main([str(folder), "add", "seed=1"]) == 0
    assert arms(folder) == {"lr=0.1 dropout=0": 2, "lr=0.1 dropout=0.5": 2, "lr=0.2 dropout=0": 2}
    # An `add` that was stopped is finished by the same words.
    tree = read_json(folder / "study.json")
    tree["runs"][-1]["result"] = None
    (folder / "study.json").write_text(json.dumps(tree))
    shutil.rmtree(folder / tree["runs"][-1]["folder"])
    assert command.main([str(folder), "add", "seed=1"]) == 0 and starts(folder) == {1}
    with pytest.raises(ConfigError, match=r"^add seed: the study has 1 already$"):
        command.main([str(folder), "add", "seed=1"])


@pytest.mark.long
def test_arms_with_names_keep_them(tmp_path, capsys):
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "two.yaml").write_text(
        "# @package _global_\n# Two.\nsweep:\n  arms:\n    tuned: optimizer=sgd lr=0.1\n    usual: optimizer=adam\n"
    )
    yaml = ("--config-dir", str(tmp_path / "own"))
    folder = begun(*yaml, "experiment=two")
    assert re.search("^tuned .*\nusual |^usual .*\ntuned ", capsys.readouterr().out, re.MULTILINE)
    assert command.main([*yaml, str(folder), "add", "seed=1"]) == 0
    assert command.main([*yaml, str(folder), "rename", "usual", "Adam"]) == 0
    assert command.main([*yaml, str(folder), "add", "optimizer=rmsprop"]) == 0
    assert arms(folder) == {"tuned": 2, "Adam": 2, "optimizer=rmsprop": 2}
    assert command.main([*yaml, str(folder), "drop", "tuned", "--yes"]) == 0
    with pytest.raises(ConfigError) as caught:
        command.main([*yaml, str(folder), "drop", "Adam", "--yes"])
    assert str(caught.value) == "drop Adam: leaves one arm, which has nothing to be compared with"
    # The same on the command line, beside another axis; a list takes the place of an experiment's group.
    typed = begun("sweep.arms.a=optimizer=sgd lr=0.1", "sweep.arms.b=optimizer=adam", "dropout=0.0,0.5")
    assert arms(typed).keys() == {"a dropout=0.0", "a dropout=0.5", "b dropout=0.0", "b dropout=0.5"}
    other = begun(*yaml, "experiment=two", 'sweep.arms=["lr=0.5","lr=0.3"]')
    assert arms(other).keys() == {"lr=0.5", "lr=0.3"}


def test_arms_that_are_typed_one_by_one_take_more_seeds(capsys):
    named = ("sweep.name=s", "sweep.arms.a=optimizer=sgd lr=0.1", "sweep.arms.b=optimizer=adam")
    folder = begun(*named, "seed=0")
    assert begun(*named, "seed=0,1") == folder
    assert arms(folder) == {"a": 2, "b": 2}
    other = begun(*named, "sweep.arms.c=optimizer=rmsprop", "seed=0,1")  # all of its arms are named: the study grows
    assert (other, arms(folder)) == (folder, {"a": 2, "b": 2, "c": 2})
    assert begun(*named, "seed=0,1") != folder
    assert "it has other arms: give all of them by name, as in sweep.arms.a=" in capsys.readouterr().out


def test_a_search_takes_more_trials_wherever_it_lies(tmp_path):
    search = ("sweep.method=random", "lr=tag(log,interval(1e-3,1e-1))")
    moved = begun(*search, "sweep.trials=2").rename(tmp_path / "moved")
    with pytest.raises(ConfigError) as caught:
        command.main([str(moved), "add", "seed=1"])
    assert str(caught.value) == (
        "add seed=1: sweep.method=random chooses its points itself. More of them: add sweep.trials=N"
    )
    for typed, line in {
        "add sweep.trials=2": "add sweep.trials=2: the study has 2 already",
        "drop lr=0.1": "drop lr=0.1: sweep.method=random chose its points by all that were tried",
    }.items():
        with pytest.raises(ConfigError) as caught:
            command.main([str(moved), *typed.split(), "--yes"])
        assert str(caught.value) == line
    assert command.main([str(moved), "rename", "other"]) == 0  # it is the same search under another name
    first = [entry.point for entry in Manifest.read(moved).entries]
    assert command.main([str(moved), "add", "sweep.trials=3"]) == 0
    points = [entry.point for entry in Manifest.read(moved).entries]
    assert len(points) == 3 and points[:2] == first and starts(moved) == {1}


MISTAKES = {
    "": "STUDY: is missing. See python -m trainer study --help",
    "nowhere": "nowhere: there is no such folder",
    "STUDY grow": "grow: is no change of a study. Accepted: continue, add, drop, rename."
    " See python -m trainer study --help",
    "STUDY add": "add: names nothing, such as add seed=3. See python -m trainer study --help",
    "STUDY continue seed=2": "continue seed=2: takes nothing more. To train further values: add seed=2."
    " See python -m trainer study --help",
    "STUDY add dropout=0.5": "add dropout=0.5: dropout is no axis of the study. It compares lr=0.1,0.2",
    "STUDY add lr": "add lr: must be SETTING=VALUE, such as seed=3,4",
    "STUDY add lr=0.1": "add lr: the study has 0.1 already",
    "STUDY add lr=1e-1": "add lr: the study has 1e-1 already",
    "STUDY add lr=-1": "lr=-1 (command line): must be a number above 0",
    "STUDY add lr=interval(0.1,1)": "add lr=interval(0.1,1): must list values, such as lr=1,2",
    "STUDY drop lr=0.3 --yes": "drop lr=0.3: the study has no such runs. Did you mean lr=0.2? Accepted: lr=0.1; lr=0.2",
    "STUDY rename": "rename: takes NAME, or ARM and NAME. See python -m trainer study --help",
    "STUDY rename a/b": "rename a/b: must be of letters, digits, dots, plus signs and dashes",
    "STUDY rename lr=0.3 x": "rename lr=0.3: the study has no such arm. Accepted: lr=0.1, lr=0.2",
    "STUDY rename lr=0.1 a\x1bb": "rename lr=0.1 a?b: must have no control characters and no ${…}",
    "STUDY rename lr=0.1 ${a}": "rename lr=0.1 ${a}: must have no control characters and no ${…}",
    "STUDY rename lr=0.1 lr=0.2": "rename lr=0.1 lr=0.2: must be a name that no arm has",
}


def test_mistakes_are_one_line_and_change_nothing(capsys):
    folder = begun("lr=0.1,0.2")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for typed, line in MISTAKES.items():
        with pytest.raises(ConfigError) as caught:
            command.main([str(folder) if word == "STUDY" else word for word in typed.split()])
        assert str(caught.value) == line
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_study_that_was_sent_runs_no_program_and_no_other_settings(tmp_path):
    folder = begun("lr=0.1,0.2")
    path, tree = folder / "study.json", read_json(folder / "study.json")
    for word in (
        "hydra.launcher.submitit_folder=/tmp",
        "+hydra.launcher.initializer={_target_:a.b}",
        "~hydra.launcher",
    ):
        path.write_text(json.dumps({**tree, "command": [*tree["command"], "hydra/launcher=joblib", word]}))
        for typed in (["continue"], ["add", "seed=1"]):
            with pytest.raises(ConfigError) as caught:
                command.main([str(folder), *typed])
            assert str(caught.value) == (
                f"{path}: {word.partition('=')[0]} is not taken from a file, which could be sent by anyone. Type the"
                f" study's command with output_dir={folder}"
            )
    for words in (["-cd", "evil"], ["-cd=evil"], ["--config-dir", "evil"], ["--info=all"]):
        path.write_text(json.dumps({**tree, "command": [*words, *tree["command"], "hydra/launcher=evil"]}))
        for typed in (["continue"], ["add", "seed=1"], ["drop", "lr=0.1", "--yes"], ["rename", "other"]):
            with pytest.raises(ConfigError) as caught:
                command.main([str(folder), *typed])
            assert str(caught.value) == f"{path}: {words[0]} is not taken from a file, which could be sent by anyone"
    first, second = tree["runs"]
    for texts in ({}, {"hydra.launcher.backend": "++hydra.launcher.backend=x"}, {"wandb.mode": "++wandb.mode=online"}):
        path.write_text(json.dumps({**tree, "runs": [{**first, "texts": texts, "point": texts}, second]}))
        with contextlib.suppress(RunError):
            assert command.main([str(folder), "continue"]) == 0 and texts == {}
    # What a run is trained with comes from the command, of which the id of the run is a hash.
    changed = {**first, "result": None, "config": {"wandb": 5, "output_dir": str(tmp_path / "elsewhere")}}
    path.write_text(json.dumps({**tree, "runs": [changed, second]}))
    shutil.rmtree(folder / first["folder"])
    assert command.main([str(folder), "continue"]) == 0 and arms(folder) == {"lr=0.1": 1, "lr=0.2": 1}
    assert not (tmp_path / "elsewhere").exists()
