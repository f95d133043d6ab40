"""`sweep.concurrent`: the runs of a study that train at once in one process are those that train alone, bit for bit."""

import os
import signal
from pathlib import Path

import pytest
from conftest import QUICK, TINY, interpret
from test_checkpoint import same_run

from trainer.cli.main import main
from trainer.errors import ConfigError, Preempted
from trainer.records.outcome import read_outcome
from trainer.study.execute import run_study

DRAWING = ("dropout=0.3", "augmentation=[crop,mixup]", "regularization=ema", "batch_size=200")
STUDY = ("-m", *QUICK, *TINY, *DRAWING, "optimizer=adam,momentum", "seed=0,1")


def study(place, *arguments):
    """Run a study in a folder of its own, so that it finds no finished runs; return the exit code and the runs."""
    Path(place).mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(place)
    try:
        code = run_study(interpret([*arguments])).exit_code
    finally:
        os.chdir(before)
    return code, runs(place)


def runs(place):
    return sorted(path.parent for path in Path(place).glob("outputs/sweeps/*/*/config.yaml"))


def states(folders):
    return sorted(read_outcome(folder).state for folder in folders)


@pytest.mark.parametrize("concurrent", ["2", "3", "auto"])
def test_runs_at_once_have_the_bits_of_runs_one_after_the_other(concurrent):
    (_, alone), (_, together) = study("alone", *STUDY), study("together", *STUDY, f"sweep.concurrent={concurrent}")
    assert [folder.name for folder in alone] == [folder.name for folder in together] and len(alone) == 4
    for one, other in zip(alone, together, strict=True):
        same_run(one, other)
        logs = [(folder / "log.txt").read_text().count("epoch") for folder in (one, other)]
        assert logs[0] == logs[1] > 0


def test_runs_at_once_are_separate_runs_of_wandb():
    words = [word for word in STUDY if not word.startswith("wandb.")]
    assert main([*words, "wandb.mode=offline", "sweep.concurrent=2"]) == 0
    for folder in runs("."):
        assert len(list(folder.glob("wandb/offline-run-*/run-*.wandb"))) == 1


@pytest.mark.long
def test_a_signal_saves_all_runs_that_train_and_the_same_command_continues(monkeypatch):
    from trainer.training.trainer import ClassificationTrainer

    real, steps = ClassificationTrainer.train_step, []

    def counted(self, positions):
        steps.append(1)
        if len(steps) == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, positions)

    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTrainer, "train_step", counted)
        with pytest.raises(Preempted):
            study("together", *STUDY, "sweep.concurrent=2")
    assert states(runs("together")) == ["interrupted", "interrupted", "queued", "queued"]
    (_, together), (_, alone) = study("together", *STUDY, "sweep.concurrent=2"), study("alone", *STUDY)
    assert len(together) == 4
    for one, other in zip(alone, together, strict=True):
        same_run(one, other)


def test_a_failure_under_on_error_stop_lets_the_runs_that_train_end():
    words = ["-m", *QUICK, *TINY, "lr=1e30,0.01,0.02,0.03", "sweep.concurrent=2"]
    code, folders = study("failing", *words, "sweep.on_error=stop")
    assert (code, states(folders)) == (1, ["failed", "finished", "queued", "queued"])


def test_a_launcher_trains_in_processes_not_in_turns():
    with pytest.raises(ConfigError, match=r"^sweep\.concurrent=2 .*hydra/launcher=joblib"):
        interpret([*STUDY, "sweep.concurrent=2", "hydra/launcher=joblib"])
