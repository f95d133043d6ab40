"""Hydra's launchers carry the same study: a run that fails and one whose worker is killed cost no other run."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import clean_environment, interpret
from test_study import SHORT, TINY, study, table

from trainer.config.hydra_errors import LAUNCHERS
from trainer.errors import ConfigError
from trainer.runtime.gpus import VISIBLE
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


@pytest.mark.long
def test_a_failing_and_a_killed_run_cost_no_other(capfd):
    arguments = (*LONG, "lr=0.1,1e30,0.2,0.3", "hydra/launcher=joblib")
    with killing("lr-0.2-*") as killed:
        code, folder = study(*arguments)
    assert code == 1 and len(killed) == 2  # once more alone, in case its sibling was the cause
    assert "Traceback" not in capfd.readouterr().err
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


@pytest.mark.long
def test_submitit_carries_a_study_with_a_failing_run():
    """`scripts/check_launchers.py` kills one, too: submitit takes 15 seconds to notice."""
    code, folder = study(*SHORT, "optimizer=sgd", "lr=0.1,1e30,0.2", "hydra/launcher=submitit_local")
    assert code == 1
    assert [row["state"] for row in table(folder)] == ["finished", "failed", "finished"]
    assert [path.name for path in Path.cwd().iterdir()] == ["outputs"]


@pytest.mark.long
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


@pytest.fixture
def two_gpus(in_empty_folder, monkeypatch):
    """The names of the GPUs of a machine that has two, by its nvidia-smi."""
    names = [f"GPU-{letter}{os.getpid()}" for letter in "ab"]  # which no other test uses
    tools = in_empty_folder.parent / f"{in_empty_folder.name}-tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\n" + "".join(f'echo "GPU 0: H100 (UUID: {name})"\n' for name in names))
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(VISIBLE, raising=False)
    return names


ANYWHERE = tuple(text for text in TINY if text != "device=cpu")
BOTH, ALL = '++gpus=["A", "B"]', "++visible_gpus=null"


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "visible", "parallel", "told"),
    [
        ("joblib device=auto", None, 2, [[BOTH]]),
        ("joblib device=cuda", None, 2, [[BOTH]]),
        ("joblib device=auto hydra.launcher.n_jobs=5", None, 5, [[BOTH]]),
        ("joblib device=auto hydra.launcher.n_jobs=1", None, 1, [[]]),  # in this process, as without a launcher
        ("joblib device=auto", "1,0", 2, [['++gpus=["1", "0"]']]),
        ("joblib device=auto", "MIG-7", 1, [[]]),
        ("joblib device=auto", "", None, [[]]),
        ("joblib device=cpu", None, None, [[]]),
        ("joblib device=cuda:1", None, None, [[]]),
        ("joblib device=cpu,cuda", None, 2, [[], [BOTH]]),
        ("joblib device=auto,cuda:1", None, None, [[], []]),
        ("joblib device=auto sweep.method=random lr=interval(0.1,0.2)", None, 2, [[BOTH]]),
        ("submitit_local device=auto", None, 2, [[ALL, BOTH]]),
        ("submitit_local device=auto +hydra.launcher.array_parallelism=6", None, 6, [[ALL, BOTH]]),
        ("submitit_local device=auto hydra.launcher.gpus_per_node=1", None, 1, [['++gpus=["A"]']]),
        ("submitit_local device=auto", "1", 1, [['++visible_gpus="1"', '++gpus=["1"]']]),
        ("submitit_local device=cuda:1", "1,0", None, [['++visible_gpus="1,0"']]),
        ("submitit_local device=cpu", None, None, [[]]),
        ("submitit_slurm device=auto", None, 256, [[]]),  # Slurm hands out the GPUs
    ],
)
def test_the_workers_are_told_which_gpus_they_share(two_gpus, monkeypatch, arguments, visible, parallel, told):
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    name, *rest = arguments.split()
    seeds = [] if "random" in arguments else ["seed=0"]
    plan = interpret(["-m", *ANYWHERE, *seeds, f"hydra/launcher={name}", *rest])
    made = launch.Launch(plan, SimpleNamespace(), lambda entry, outcome: None)
    assert made.parallel == (parallel or os.cpu_count() or 1)
    devices = [run.config.device for run in plan.runs] or ["auto"]
    jobs = [made._job(SimpleNamespace(config={"device": device}), Path("x")) for device in devices]
    letters = dict(zip(two_gpus, "AB", strict=True))
    assert [[re.sub(r"GPU-\w+", lambda found: letters[found[0]], text) for text in job[1:]] for job in jobs] == told


def seen(folder: Path) -> list[str]:
    """What CUDA_VISIBLE_DEVICES was in each run, by its log."""
    logs = [path.read_text() for path in sorted(folder.glob("*/log.txt"))]
    return [line.partition("=")[2] for log in logs for line in log.splitlines() if line.startswith(VISIBLE)]


@pytest.mark.long
def test_each_worker_of_joblib_trains_on_a_gpu_of_its_own(two_gpus):
    code, folder = study(*ANYWHERE, "epochs=2", "device=auto", "seed=0,1,2,3", "hydra/launcher=joblib")
    assert code == 0 and len(seen(folder)) == 4 and set(seen(folder)) <= set(two_gpus)


@pytest.mark.long
def test_submitit_does_not_hide_the_gpus(two_gpus, monkeypatch):
    monkeypatch.setenv(VISIBLE, two_gpus[1])
    more = "+hydra.launcher.array_parallelism=2"
    code, folder = study(*ANYWHERE, "epochs=2", "device=auto", "seed=0,1", "hydra/launcher=submitit_local", more)
    assert code == 0 and seen(folder) == [two_gpus[1]] * 2


UNREGISTERED = """
import time
from joblib.externals.loky.backend import resource_tracker
from trainer.study.launch import _start_tracker
_start_tracker()
resource_tracker.unregister("/nowhere", "folder")  # as after the death of a worker: the folder is not known any more
time.sleep(0.3)
"""


def test_the_process_that_clears_after_dead_workers_prints_no_traceback():
    command = [sys.executable, "-c", UNREGISTERED]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment(), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
