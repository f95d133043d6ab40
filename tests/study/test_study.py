"""A multirun as a study: checked whole, frozen, continued, never trained twice, every run accounted for."""

import ast
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import clean_environment, compose, interpret, metrics, program
from rich.console import Console
from wandb_files import assert_no_place, offline_run

from trainer.cli.train import main
from trainer.config.definitions import dumped
from trainer.config.schema import PACKAGE
from trainer.errors import ConfigError, RunError
from trainer.records import code as deciding_code
from trainer.records.metrics import shown_figure
from trainer.reports.content import of_study
from trainer.reports.tables import exported
from trainer.reports.verdict_file import verdict_tree
from trainer.run import train
from trainer.runtime.lock import locked
from trainer.storage.untrusted import read_json
from trainer.study.execute import run_study
from trainer.study.live_table import LiveTable
from trainer.study.manifest import Manifest

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
SHORT = (*TINY, "epochs=2")


def study(*arguments: str) -> tuple[int, Path]:
    """The study as the program conducts it, in this process: exit code and folder."""
    before = set(Path("outputs/sweeps").glob("*"))
    code = run_study(interpret(["-m", *arguments])).exit_code
    folders = set(Path("outputs/sweeps").glob("*")) - before
    return code, max(folders or before, key=lambda folder: (folder / "study.json").stat().st_mtime)


def table(folder: Path) -> list[dict]:
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


def starts(folder: Path) -> dict[str, int]:
    return {path.parent.name: read_json(path)["starts"] for path in folder.glob("*/result.json")}


def test_a_bad_seventh_run_means_that_nothing_ran(in_empty_folder):
    done = program("-m", *SHORT, "lr=0.1,0.2,0.3,0.4,0.5,0.6,-0.7", cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trainer: lr=-0.7 (command line): must be a number above 0\n"
    assert list(in_empty_folder.iterdir()) == []


MISFITS = {
    "lr=interval(0.1,1)": "lr=interval(0.1,1) (command line): an interval needs sweep.method=random, tpe or gp",
    "sweep.method=tpe lr=interval(0.1,-1)": "lr=interval(0.1,-1) (command line): the interval must rise",
    "sweep.method=tpe dropout=interval(0,1)": (
        "dropout=1.0 (command line): must be a number of at least 0 and below 1"
    ),
    "sweep.method=tpe seed=interval(0,9)": (
        "seed=interval(0,9) (command line): an interval needs a list, such as seed=0,1,2"
    ),
    "sweep.method=random sweep.stages=11 lr=interval(0.1,0.2)": (
        "sweep.stages=11 (command line): must be a whole number of at least 1 and at most 10"
    ),
    "sweep.method=random": (
        "sweep.method=random has nothing to search: give it an axis, such as 'lr=tag(log,interval(1e-4,1e-1))'"
    ),
    "lr=0.1,0.2 sweep.stages=2": (
        "sweep.stages=2 needs sweep.method=random, tpe or gp: a grid tries every point to its end"
    ),
    "lr=0.1,0.2 sweep.name=a/b": (
        "sweep.name='a/b' (command line): must be a name of letters, digits, dot, dash and underscore or null."
        " Did you mean sweep.name=a_b?"
    ),
    "optimizer=sgd,adam seed=0,1 sweep.baseline=adm": (
        "sweep.baseline=adm: the study has no such arm. Did you mean adam? Accepted: sgd, adam"
    ),
    "sweep.method=random lr=interval(0.1,0.2) sweep.baseline=adam": (
        "sweep.baseline=adam: the arms of sweep.method=random are not known before"
    ),
    "optimizer=sgd,adam sweep.margin=0": "sweep.margin=0 (command line): must be a number above 0 or null",
    "sweep.seed=1,2": "sweep.seed (command line): is not a setting to compare",
    "checkpoint_minutes=1,2": (
        "checkpoint_minutes (command line): cannot have several values: it does not change the result of a run"
    ),
    "lr=0.1,0.2 seed=0,1 lr=0.3": "lr (command line): is given twice, lr=0.1,0.2 and lr=0.3. Give it once",
    "lr=0.1,0.2 resume=x": "resume= continues a single run: leave -m out. A study is continued by its own command",
}


@pytest.mark.parametrize("arguments", MISFITS)
def test_a_study_that_cannot_be_is_one_line(arguments):
    with pytest.raises(ConfigError) as caught:
        interpret(["-m", *SHORT, *arguments.split(" ")])
    assert str(caught.value) == MISFITS[arguments]


def test_two_arms_that_are_the_same_are_trained_once(capsys):
    """The same value in two spellings; the same data in two places, which is known when they have been read."""
    _, folder = study(*SHORT, "lr=0.1,1e-1,0.2")
    assert [row["lr"] for row in table(folder)] == ["0.1", "0.2"]
    told = capsys.readouterr()
    assert told.err == "trainer: warning: lr=0.1 is given twice: it is trained once\n"
    assert "[2/2] lr=0.2" in told.out
    _, folder = study(*SHORT, "data_dir=here,there", "seed=0,1")
    assert [row["data_dir"] for row in table(folder)] == ["here", "here"]
    told = capsys.readouterr()
    assert told.err == (
        "trainer: warning: data_dir=here seed=0 and data_dir=there seed=0 are the same run (one of 2 such pairs): each"
        " is trained once\n"
    )
    assert "[2/2] data_dir=here seed=1" in told.out


def test_arms_that_are_equal_to_the_last_digit_are_told_as_the_same_run(capsys):
    _, folder = study(*TINY, "epochs=1", "scheduler=constant,step,exponential,cyclic", "seed=0,1")
    told = capsys.readouterr()
    assert [line for line in told.err.splitlines() if "first changes the rate" in line] == [
        "trainer: warning: scheduler=step first changes the rate after epoch 30; the run has 1 epoch",
        "trainer: warning: scheduler=exponential first changes the rate after epoch 1; the run has 1 epoch",
    ]
    sentence = (
        "constant, step and exponential are the same run: their schedules gave the same learning rates, and their"
        " results are equal to the last digit"
    )
    assert sentence in " ".join(told.out.split()) and sentence in of_study(folder).verdict
    path = next(folder.glob("scheduler-step_seed-1-*/result.json"))
    result = read_json(path)
    path.write_text(json.dumps(result | {"validation_loss": result["validation_loss"] + 1e-9}))
    assert "constant and exponential are the same run" in of_study(folder).verdict[0]
    path = next(folder.glob("scheduler-exponential_seed-1-*/result.json"))
    result = read_json(path)
    result["scores"]["last"]["validation_loss"] += 1e-9  # equal at the best epoch, and not after it
    path.write_text(json.dumps(result))
    assert not [line for line in of_study(folder).verdict if "are the same run" in line]


def test_what_the_fairness_check_found_is_kept_and_told_with_the_verdict(capsys):
    arms = 'sweep.arms=["dropout=0.0 lr=0.1","dropout=0.1 lr=0.1 batch_size=32"]'
    command = (*TINY, "epochs=1", "optimizer=sgd,sam", arms)
    _, folder = study(*command)
    kept = Manifest.read(folder).fairness
    (unfair,) = kept["unfair"]
    assert unfair.startswith("dropout=0.1 lr=0.1 batch_size=32 trains 38 steps, dropout=0.0 lr=0.1 19")
    assert f"trainer: warning: not a fair comparison: {unfair}" in " ".join(capsys.readouterr().err.split())
    assert "optimizer=sam takes 2 gradients a step, optimizer=sgd 1: twice the compute" in kept["implied"]
    assert dict(of_study(folder).facts)["Not a fair comparison"] == unfair
    tree = verdict_tree(exported([str(folder)]))["fairness"]
    assert tree == {"unfair": [unfair], "implied": list(kept["implied"]), "equal": []}
    # A start that does not examine it keeps what was found.
    study(*command, "sweep.fairness_check=off")
    assert Manifest.read(folder).fairness == kept


@pytest.mark.parametrize("metric", ["validation_accuracy", "validation_loss"])
def test_the_live_table_shows_the_best_runs_on_a_short_screen(metric, monkeypatch):
    tables = []

    def ended(live, *_):
        live.console.height = 11  # four rows
        tables.append(live._table())

    monkeypatch.setattr(LiveTable, "__exit__", ended)
    rates = "lr=1e-6,1e-5,0.03,1e30,0.01,0.003,1e-4"
    _, folder = study(*TINY, "optimizer=sgd", "epochs=1", rates, f"sweep.metric={metric}")
    out = Console(width=100, file=io.StringIO())
    out.print(tables[0])
    lines = out.file.getvalue().splitlines()
    sign = -1 if metric == "validation_accuracy" else 1
    finished = [row for row in table(folder) if row["state"] == "finished"]
    best = sorted(finished, key=lambda row: sign * float(row[metric]))
    assert [line.split()[0] for line in lines[1:5]] == [f"lr={row['lr']}" for row in best[:4]]
    assert shown_figure(metric, float(best[0][metric])) in lines[1]
    assert lines[5].strip() == "… and 3 more runs" and "7 of 7 runs ended, 1 failed" in lines[6]


def test_settings_of_a_study_need_a_study():
    with pytest.raises(
        ConfigError, match=r"^sweep.trials \(command line\): belongs to a study of several runs: add -m$"
    ):
        interpret([*SHORT, "sweep.trials=3"])


def test_every_run_has_a_readable_folder_a_log_and_a_row(capsys):
    code, folder = study(*SHORT, "optimizer=sgd,adam", "seed=0,1")
    assert code == 0
    runs = [path.name.rpartition("-")[0] for path in folder.iterdir() if path.is_dir() and path.name != "launcher"]
    names = [f"optimizer-{optimizer}_seed-{seed}" for optimizer in ("adam", "sgd") for seed in (0, 1)]
    assert sorted(runs) == names
    assert all("Validation accuracy" in path.read_text() for path in folder.glob("*/log.txt"))
    rows = table(folder)
    assert [(row["optimizer"], row["seed"], row["state"]) for row in rows] == [
        ("sgd", "0", "finished"), ("sgd", "1", "finished"), ("adam", "0", "finished"), ("adam", "1", "finished")
    ]  # fmt: skip
    for row in rows:
        run = next(folder.glob(f"*-{row['id']}"))
        best = min(metrics(run), key=lambda epoch: epoch["validation_loss"])
        assert float(row["validation_accuracy"]) == best["validation_accuracy"]
        assert int(row["best_epoch"]) == best["epoch"]
    printed = capsys.readouterr().out
    adam = [float(row["validation_accuracy"]) for row in rows if row["optimizer"] == "adam"]
    deviation = abs(adam[0] - adam[1]) / 2**0.5
    line = next(line for line in printed.splitlines() if line.startswith("adam "))
    assert f"{sum(adam) / 2:.2%} ± {deviation:.2%}" in line and f"{adam[0]:.2%}, {adam[1]:.2%}" in line
    assert (
        f"\nNo conclusion at 2 seeds; at least 3 seeds an arm are needed: python -m trainer study {folder} add"
        " seed=2,3,4\nadam against sgd: +"
    ) in printed
    words = " ".join(SHORT).replace("model.hidden=[8]", "'model.hidden=[8]'")
    assert f"Best: optimizer=adam\n  python -m trainer {words} optimizer=adam\n" in printed


def test_finished_runs_are_not_trained_again_unless_forced():
    arguments = (*SHORT, "lr=0.1,0.2")
    _, folder = study(*arguments)
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*/last.safetensors")}
    assert study(*arguments)[1] == folder
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/last.safetensors")} == stamps
    _, other = study(*SHORT, "lr=0.2,0.3")  # another study that shares a run
    assert sorted(path.stat().st_nlink for path in other.glob("*/last.safetensors")) == [1, 2]
    assert [row["state"] for row in table(other)] == ["finished", "finished"]
    study(*SHORT, "lr=0.2,0.3", "retrain=true")  # trains the shared run itself, and leaves the other study's as it is
    assert len([path for path in other.glob("*/last.safetensors") if path.parent.name.startswith("lr-")]) == 2
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/last.safetensors")} == stamps
    study(*arguments, "retrain=true")
    assert "retrain" not in Manifest.read(folder).restart_command  # it would begin anew
    kept = [path for path in folder.glob("*/last.safetensors") if path.parent.name.startswith("before_")]
    assert len(kept) == 2 and len(list(folder.glob("*/last.safetensors"))) == 4


def test_what_decides_a_result_decides_the_id(monkeypatch):
    def ids(*arguments, setting=SHORT):
        return {row["id"] for row in table(study(*setting, "lr=0.1,0.2", *arguments)[1])}

    first = ids()
    assert ids("wandb.project=other", f"data_dir={Path.cwd() / 'elsewhere'}") == first
    assert not ids("dropout=0.1") & first
    assert not ids(setting=(*SHORT[:1], "dataset.image_size=9", *SHORT[2:])) & first
    monkeypatch.setattr("trainer.study.fingerprint.version", lambda name: "0")  # another torch
    assert not ids("sweep.name=new") & first


def test_a_study_that_begins_anew_says_why(monkeypatch, capsys):
    _, first = study(*SHORT, "lr=0.1,0.2")
    assert "of the same command" not in capsys.readouterr().out
    monkeypatch.setattr("trainer.study.locate.core_fingerprint", lambda: "edited")
    _, second = study(*SHORT, "lr=0.1,0.2")
    assert second != first
    assert (
        f"Note: {first} is of the same command, with other code, or other versions of torch, numpy, scikit-learn: what"
        " they decide is trained anew here\n"
    ) in capsys.readouterr().out
    study(*SHORT, "lr=0.1,0.2")  # continues
    study(*SHORT, "lr=0.1,0.3")  # another command
    assert "of the same command" not in capsys.readouterr().out


def test_editing_a_yaml_while_a_study_runs_changes_nothing(tmp_path, capsys):
    conf = tmp_path / "own" / "optimizer"
    conf.mkdir(parents=True)
    file = conf / "mine.yaml"
    file.write_text("name: momentum\nmomentum: 0.5\ndampening: 0.0\n")
    own = ("--config-dir", str(tmp_path / "own"))
    search = interpret(
        ["-m", *own, *SHORT, "optimizer=mine,sgd", "sweep.method=random", "sweep.trials=4", "lr=interval(0.1,0.2)"]
    )
    file.write_text("name: momentum\nmomentum: 0.9\ndampening: 0.0\n")
    run_study(search)
    (folder,) = Path("outputs/sweeps").glob("*")
    assert Manifest.read(folder).restart_command.startswith(
        f"python -m trainer -m --config-dir={tmp_path / 'own'} dataset=digits "
    )
    (best,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  python -m trainer ")]
    (alone,) = compose(shlex.split(best)[3:])
    assert alone.optimizer.name in ("momentum", "sgd") and f"--config-dir={tmp_path / 'own'}" in best
    used = [yaml.safe_load(path.read_text())["optimizer"] for path in folder.glob("*/config.yaml")]
    assert {each["momentum"] for each in used if each["name"] == "momentum"} == {0.5}


def test_a_failed_run_is_recorded_and_the_rest_go_on(capsys):
    code, folder = study(*SHORT, "optimizer=sgd", "lr=0.1,1e30,0.2")
    assert code == 1
    assert [row["state"] for row in table(folder)] == ["finished", "failed", "finished"]
    assert table(folder)[1]["reason"].startswith("the training loss is nan in epoch 1, step 2 of ")
    printed = capsys.readouterr().out
    assert printed.count("the training loss is nan") == 1
    (log,) = folder.glob("lr-1e+30-*/log.txt")
    assert f"Log: {log}" in printed and "the training loss is nan" in log.read_text()


def test_an_error_of_a_techniques_own_is_recorded_with_its_traceback(monkeypatch):
    from trainer.techniques import optimizer

    def broken(*_, **__):
        raise IndexError("no such thing")

    monkeypatch.setattr(optimizer, "sgd", broken)
    code, folder = study(*SHORT, "optimizer=sgd,adam")
    assert code == 1
    assert [(row["state"], row["reason"]) for row in table(folder)] == [
        ("failed", "IndexError: no such thing"),
        ("finished", ""),
    ]
    (log,) = folder.glob("optimizer-sgd*/log.txt")
    assert "Traceback" in log.read_text() and "in broken" in log.read_text()


def test_on_error_stop_and_retry(capsys):
    _, folder = study(*SHORT, "optimizer=sgd", "lr=0.1,1e30,0.2", "sweep.on_error=stop")
    assert (
        "\nStopped at the first failure (sweep.on_error=stop): 1 run was not started. With sweep.on_error=continue the"
        " same command trains the rest\nStudy: "
    ) in capsys.readouterr().out
    assert [row["state"] for row in table(folder)] == ["finished", "failed", "queued"]
    _, same = study(*SHORT, "optimizer=sgd", "lr=0.1,1e30,0.2", "sweep.on_error=retry")
    assert same == folder
    assert [row["state"] for row in table(folder)] == ["finished", "failed", "finished"]
    (failed,) = [name for name in starts(folder) if name.startswith("lr-1e+30")]
    assert starts(folder)[failed] == 3


def started(*arguments: str, cwd: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", "-m", *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@pytest.mark.long
def test_a_search_that_was_killed_twice_equals_an_undisturbed_one(in_empty_folder):
    """A grid is less: it asks nothing of what was trained before."""
    axes = ("sweep.method=tpe", "sweep.trials=12", "lr=tag(log,interval(1e-3,1))", "sweep.pruner=median")
    arguments = (*TINY, "epochs=6", "augmentation=crop", *axes)
    for after in (1, 3):
        process = started(*arguments, cwd=in_empty_folder)
        wait_for(lambda after=after: len(list(in_empty_folder.glob("outputs/sweeps/*/*/last.safetensors"))) >= after)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert study(*arguments)[0] == 0
    (folder,) = Path("outputs/sweeps").glob("*")
    disturbed = (folder / "table.csv").read_text()
    assert max(starts(folder).values()) > 1  # one was in flight
    folder.rename("disturbed")
    assert study(*arguments)[0] == 0
    assert (folder / "table.csv").read_text() == disturbed
    for path in folder.glob("*/metrics.jsonl"):
        assert [row["train_loss"] for row in metrics(path.parent)] == [
            row["train_loss"] for row in metrics(Path("disturbed") / path.parent.name)
        ]


def test_ctrl_c_keeps_what_there_is_and_the_same_command_goes_on(in_empty_folder):
    arguments = (*TINY, "epochs=400", "early_stop_patience=null", "lr=0.05,0.1")
    process = started(*arguments, cwd=in_empty_folder)
    wait_for(lambda: list(in_empty_folder.glob("outputs/sweeps/*/*/last.safetensors")))
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "Stopped: 0 of 2 runs ended. The same command continues" in out
    states = {read_json(path)["state"] for path in in_empty_folder.glob("outputs/sweeps/*/*/result.json")}
    assert states == {"interrupted"}


def test_a_study_that_someone_works_on_says_who(in_empty_folder):
    study(*SHORT, "lr=0.1,0.2")
    (folder,) = Path("outputs/sweeps").glob("*")
    with locked(folder):
        done = program("-m", *SHORT, "lr=0.1,0.2", cwd=in_empty_folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"trainer: {folder} is being worked on by process {os.getpid()} on ")
    with locked(folder), pytest.raises(RunError, match="is being worked on by process"):
        study(*SHORT, "lr=0.1,0.2")
    left = folder / ".study.json.1.writing"  # by a kill
    left.write_text("{")
    assert study(*SHORT, "lr=0.1,0.2")[0] == 0 and not left.exists()


@pytest.mark.long
def test_two_studies_at_the_same_time_share_nothing(in_empty_folder):
    both = [started(*SHORT, f"lr=0.1,0.{n}", cwd=in_empty_folder) for n in (2, 3)]
    assert [process.wait(60) for process in both] == [0, 0]
    for process in both:
        process.communicate()
    folders = list(Path("outputs/sweeps").glob("*"))
    assert [[row["state"] for row in table(folder)] for folder in folders] == [["finished"] * 2] * 2


def test_a_dry_run_trains_a_step_of_each_and_leaves_nothing(capsys):
    assert run_study(interpret(["-m", *SHORT, "optimizer=sgd,adam", "seed=0,1", "sweep.dry_run=true"])).exit_code == 0
    printed = capsys.readouterr().out
    assert printed.count("2 epochs, at most ") == 4 and "4 runs, at most " in printed
    assert not Path("outputs").exists()


def test_folds_are_an_axis_and_are_averaged():
    arguments = (*SHORT, "dataset.folds=5", "dataset.fold=range(5)", "lr=0.05,0.1")
    _, folder = study(*arguments)
    plan = interpret(["-m", *arguments])
    assert "fold" not in plan.command({"lr": "++lr=0.1"})
    (alone,) = compose(shlex.split(plan.command({"lr": "++lr=0.1", "dataset.fold": "++dataset.fold=3"}))[3:])
    assert alone == plan.runs[8].config
    rows = table(folder)
    assert len(rows) == 10 and {row["dataset.fold"] for row in rows} == set("01234")
    manifest = read_json(folder / "study.json")
    assert (manifest["axes"], manifest["replicates"]) == (["lr=0.05,0.1"], ["dataset.fold=0,1,2,3,4"])


def test_the_manifest_says_everything_that_was_frozen():
    _, folder = study(*SHORT, "lr=0.1,0.2")
    manifest = read_json(folder / "study.json")
    assert manifest["command"] == [*SHORT, "lr=0.1,0.2"]
    assert len(manifest["code"]) == 10 and len(next(iter(manifest["data"].values()))) == 16
    assert [run["config"]["lr"] for run in manifest["runs"]] == [0.1, 0.2]
    assert [run["folder"] for run in manifest["runs"]] == sorted(p.parent.name for p in folder.glob("*/result.json"))


def test_a_study_is_a_group_in_wandb_with_all_its_arms_reused_runs_included(capsys):
    plain = [argument for argument in SHORT if argument != "wandb.mode=disabled"]
    assert main(["-m", *plain, "experiment=weight_decay", "weight_decay=0.001,0.002", "wandb.tags=[mine]"]) == 0
    (folder,) = Path("outputs/sweeps").iterdir()
    shown = [offline_run(path.parent) for path in sorted(folder.glob("*/wandb"))]
    runs, configs = [each.run for each in shown], [each.config for each in shown]
    assert {(run.project, run.run_group, run.job_type, *run.tags) for run in runs} == {
        ("weight_decay", folder.name, "train", "mine", "digits", "mlp")
    }
    assert [run.display_name for run in runs] == ["weight_decay=0.001 · seed 0", "weight_decay=0.002 · seed 0"]
    assert [(told["arm"], told["seed"], told["weight_decay"]) for told in configs] == [
        ("weight_decay=0.001", 0, 0.001), ("weight_decay=0.002", 0, 0.002)
    ]  # fmt: skip
    assert {run.notes for run in runs} == {
        "Question: How does weight decay change the gap between training and validation? Expected: The gap closes as λ"
        " grows. At 0.02 the network underfits, so that both accuracies are low. Compared: weight_decay=0.001,0.002."
    }
    assert_no_place(folder / "wandb")
    assert_no_place(min(folder.glob("*/wandb")))
    (verdict,) = folder.glob("wandb/offline-run-*")
    run = offline_run(folder).run
    assert (run.display_name, run.job_type, list(run.tags)) == ("verdict", "verdict", ["mine", "digits", "verdict"])
    assert "Single runs: nothing can be concluded; at least 3 seeds" in run.notes
    (arms,) = (verdict / "files" / "media" / "table").glob("arms_*.json")
    assert sorted(row[0] for row in json.loads(arms.read_text())["data"]) == [
        "weight_decay=0.001",
        "weight_decay=0.002",
    ]

    def dropout(*more: str) -> list[tuple]:
        assert main(["-m", *plain, "experiment=dropout", "wandb.project=p", *more]) == 0
        place = Path("again") if more else max(Path("outputs/sweeps").glob("*dropout*"))
        told = [offline_run(path.parent) for path in sorted(place.glob("**/wandb"))]
        assert {(each.run.project, each.run.run_group) for each in told} == {("p", place.name)}
        assert {each.run.run_id for each in told}.isdisjoint(run.run_id for run in runs)
        return [
            (
                each.run.display_name,
                each.run.job_type,
                each.config.get("arm"),
                each.config.get("reused"),
                len(each.rows),
            )
            for each in told
        ]

    capsys.readouterr()
    assert dropout() == [
        ("dropout=0.0 · seed 0", "train", "dropout=0.0", True, 2),
        ("dropout=0.5 · seed 0", "train", "dropout=0.5", None, 2),
        ("verdict", "verdict", None, None, 1),
    ]
    assert "Recording 1 reused run for W&B\n" in capsys.readouterr().out
    everything = dropout("output_dir=again")  # nothing is trained there
    assert [row[3] for row in everything] == [True, True, None]
    assert "Recording 2 reused runs for W&B\n" in capsys.readouterr().out
    assert dropout("output_dir=again") == everything
    assert "Recording" not in capsys.readouterr().out


def test_what_is_typed_over_an_experiment_is_no_part_of_its_arms():
    plan = interpret(["-m", *SHORT, "experiment=optimizers_tuned", "lr=0.5"])
    assert [dict(run.point) for run in plan.runs][:2] == [{"arm": "optimizer=sgd"}, {"arm": "optimizer=momentum"}]
    assert {run.config.lr for run in plan.runs} == {0.5}
    with pytest.raises(ConfigError, match=r"^lr, optimizer \(command line\): makes the arms of the experiment equal"):
        interpret(["-m", *SHORT, "experiment=optimizers_tuned", "lr=0.5", "optimizer=adam"])


def test_a_run_of_a_study_is_not_taken_out_of_its_hands(capsys):
    _, folder = study(*TINY, "augmentation=[flip],[flip,crop]", "epochs=1")
    assert "[flip,crop]" in capsys.readouterr().out.partition("best epoch")[2]  # rich would take it for markup
    run = next(path.parent for path in folder.glob("*/result.json"))
    with pytest.raises(ConfigError, match=r"is a run of a study, which is continued by the study's command"):
        train(interpret([f"resume={run}", "epochs=3"]))


def test_another_studys_runs_may_be_damaged_or_gone():
    _, first = study(*SHORT, "lr=0.1,0.2", "sweep.name=first")
    _, second = study(*SHORT, "lr=0.2,0.3", "sweep.name=second")
    assert [entry.source for entry in Manifest.read(second).entries] == [
        f"{first.name}/{next(first.glob('lr-0.2-*')).name}", None
    ]  # fmt: skip
    for path in first.glob("*/result.json"):
        path.write_text("{")
    code, third = study(*SHORT, "lr=0.1,0.4", "sweep.name=third")
    assert code == 0 and len(list(third.glob("*/result.json"))) == 2
    shutil.rmtree(first)
    code, again = study(*SHORT, "lr=0.2,0.3", "sweep.name=second")
    assert (code, again) == (0, second) and not first.exists()
    assert len(list(second.glob("*/result.json"))) == 2


def test_what_the_deciding_code_imports_decides_too():
    """Or it checks, tells, stores, sets up the process: what is moved out of a deciding module is not forgotten."""
    beside = {"config", "errors", "storage"}
    beside |= {f"runtime.{name}" for name in ("console", "extras", "files", "memory", "signals", "text")}
    deciding = {name.removesuffix(".py").replace("/", ".") for name in (*deciding_code.CORE, "techniques")}
    paths = [PACKAGE / name for name in deciding_code.CORE]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    modules = {node.module for node in froms if node.module != "trainer.runtime"}
    modules |= {
        f"{node.module}.{each.name}" for node in froms if node.module == "trainer.runtime" for each in node.names
    }
    imported = {name.removeprefix("trainer.") for name in modules if name.startswith("trainer.")}
    assert {name for name in imported if not {name, name.split(".")[0]} & (deciding | beside)} == set()


def test_checks_and_remedies_lie_beside_the_techniques_and_decide_nothing():
    sources = [(PACKAGE / "techniques" / name).read_text() for name in ("checks.py", "idle.py", "remedies.py")]
    assert [source for source in sources if "import torch" in source or "from torch" in source] == []
    assert not {f"techniques/{name}.py" for name in ("checks", "idle", "remedies")} & deciding_code.core_hashes().keys()


def test_rewording_a_message_trains_nothing_again_and_another_number_does():
    """A docstring, a comment, a message, a warning; then a constant, a name of an option."""
    source = (PACKAGE / "training" / "oom.py").read_text() + (PACKAGE / "techniques" / "optimizer.py").read_text()
    reworded = re.sub(r'""".*?"""', '"""Other words."""', source, flags=re.DOTALL)
    reworded = reworded.replace("does not fit into", "is too large for").replace("  # ", "  # indeed ")
    assert reworded.count("indeed") and reworded.count("too large") and dumped(ast.parse(reworded))
    assert dumped(ast.parse(reworded)) == dumped(ast.parse(source))
    for was, becomes in (("betas: tuple[Fraction, Fraction] = (0.9", "betas: tuple[Fraction, Fraction] = (0.8"),
                         ('"validation"', '"training"'), ("size //= 2", "size //= 3")):  # fmt: skip
        assert was in source
        assert dumped(ast.parse(source.replace(was, becomes))) != dumped(ast.parse(source))


def test_a_study_that_cannot_be_written_says_where_it_would_lie_and_what_helps(in_empty_folder):
    Path("outputs").write_text("a file")
    with pytest.raises(RunError) as caught:
        study(*SHORT, "seed=0,1")
    assert str(caught.value).startswith("outputs/sweeps/digits_seed_20")
    assert str(caught.value).endswith(
        " cannot be created: File exists. Name another place: output_root=FOLDER, or output_dir=FOLDER for one study"
    )
    Path("outputs").unlink()
    Path("elsewhere").mkdir()
    Path("outputs").symlink_to("elsewhere")
    study(*SHORT, "seed=0,1")
    assert len(list(Path("elsewhere/sweeps").glob("digits_seed_*/study.json"))) == 1
