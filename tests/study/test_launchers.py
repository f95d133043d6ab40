"""Hydra's launchers carry the same study: a run that fails and one whose worker is killed cost no other run."""

import contextlib
import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from conftest import interpret
from test_study import SHORT, TINY, study, table

from trainer.config.hydra_errors import LAUNCHERS
from trainer.errors import ConfigError
from trainer.study import launch


@contextlib.contextmanager
def killing(pattern: str):
    """Kills whatever process trains the run of this name, as often as one does."""
    over, killed = threading.Event(), set()

    def kill():
        while not over.wait(0.02):
            for lock in Path("outputs/sweeps").glob(f"*/{pattern}/.lock"):
                words = lock.read_text().split()
                if len(words) > 1 and int(words[1]) not in killed and list(lock.parent.glob("last.safetensors")):
                    killed.add(int(words[1]))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(words[1]), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


LONG = (*TINY, "epochs=80", "early_stop_patience=null", "optimizer=sgd")


def test_a_failing_and_a_killed_run_cost_no_other():
    arguments = (*LONG, "lr=0.1,1e30,0.2,0.3", "hydra/launcher=joblib")
    with killing("lr-0.2-*") as killed:
        code, folder = study(*arguments)
    assert code == 1 and len(killed) == 2  # once more alone, in case its sibling was the cause
    rows = {row["lr"]: row for row in table(folder)}
    assert {lr: row["state"] for lr, row in rows.items()} == {
        "0.1": "finished", "1e+30": "failed", "0.2": "failed", "0.3": "finished"
    }  # fmt: skip
    assert rows["0.2"]["reason"] == "its worker was killed"
    assert rows["1e+30"]["reason"].startswith("the training loss is nan")
    assert all(path.read_text() for path in folder.glob("*/log.txt"))
    assert [path.name for path in Path.cwd().iterdir()] == ["outputs"]  # a launcher's own files lie inside the study
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("lr-0.[13]-*/last.safetensors")}
    assert study(*arguments)[0] == 1  # the same command again: only the two that failed
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert {row["lr"]: row["state"] for row in table(folder)} == {
        "0.1": "finished", "1e+30": "failed", "0.2": "finished", "0.3": "finished"
    }  # fmt: skip


def test_submitit_carries_a_study_with_a_failing_run():
    """`scripts/check_launchers.py` kills one, too: submitit takes 15 seconds to notice."""
    code, folder = study(*SHORT, "optimizer=sgd", "lr=0.1,1e30,0.2", "hydra/launcher=submitit_local")
    assert code == 1
    assert [row["state"] for row in table(folder)] == ["finished", "failed", "finished"]
    assert [path.name for path in Path.cwd().iterdir()] == ["outputs"]


def test_the_workers_share_the_cores_and_each_run_is_counted_once(monkeypatch, capsys):
    monkeypatch.setattr(launch, "POLL_SECONDS", 60.0)  # both have ended when the study looks
    arguments = (*TINY, "epochs=2", "lr=0.1,0.2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert study(*arguments)[0] == 0
    stamps = [json.loads(path.read_text())[-1] for path in Path("outputs/sweeps").glob("*/*/environment.json")]
    assert {stamp["threads"] for stamp in stamps} == {max(1, (os.cpu_count() or 1) // 2)}
    assert re.findall(r"^\[(.*?)\] lr=", capsys.readouterr().out, re.MULTILINE) == ["1/2", "2/2"]


def test_a_launcher_that_is_not_there_is_one_line(monkeypatch):
    with pytest.raises(
        ConfigError, match=r"^hydra/launcher=jobli \(command line\): .*Did you mean joblib\? Accepted: basic, "
    ):
        interpret(["-m", *TINY, "seed=0,1", "hydra/launcher=jobli"])
    monkeypatch.setitem(LAUNCHERS, "jobli", "joblib")  # one that the project offers and that is not installed
    with pytest.raises(ConfigError) as caught:
        interpret(["-m", *TINY, "seed=0,1", "hydra/launcher=jobli"])
    assert str(caught.value) == "hydra/launcher=jobli is not installed: pip install 'ablation-trainer[joblib]'"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("hydra.launcher.n_jbs=2", "hydra.launcher.n_jbs (command line): Key 'n_jbs' not in 'JobLibLauncherConf'"),
        (
            "hydra.launcher.n_jobs=two",
            "hydra.launcher.n_jobs=two (command line): Value 'two' of type 'str' could not be converted to Integer",
        ),
    ],
)
def test_a_wrong_option_of_a_launcher_is_one_line(option, told):
    with pytest.raises(ConfigError) as caught:
        interpret(["-m", *TINY, "seed=0,1", "hydra/launcher=joblib", option])
    assert str(caught.value) == told
